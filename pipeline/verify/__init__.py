"""verify: is a run as it was written, and does what lies at rest say the same everywhere?

files    every file against the digest that it was written with, and what no stage wrote
counts   rows grouped in Arrow against the counts of the manifests
crawl    records by type, counted again by warcio
links    image row -> pack; kept row -> sample -> index
replay   verdicts, kept rows, wanted URLs and tables made again, by the same functions

Only the first stage that failed is blamed: what is made of its files is not looked at.
Not detected: (1) what a wrong rule or a wrong extractor did, since it does it again (goldens and
unit tests are for that); (2) a file that was forged together with its digest, the parts table and
the manifest; (3) *.host.json, which tell of hosts and times, and may differ between runs of the
same bytes.
"""

from pipeline.verify.checks import Check, Outcome, Verification
from pipeline.verify.show import show
from pipeline.verify.verify import verify

__all__ = ["Check", "Outcome", "Verification", "show", "verify"]
