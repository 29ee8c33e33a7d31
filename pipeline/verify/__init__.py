"""verify: a run's files in, counted again from what lies at rest; what does not balance out.

crawl ─warcio─> records    documents/, verdicts/, kept/ ─rows─> seen, dropped, kept
tars ─tarfile─> samples    manifests ─told─> what all of them are held against
"""

from pipeline.verify.checks import Check, Outcome, Verification
from pipeline.verify.printed import show
from pipeline.verify.whole import verify

__all__ = ["Check", "Outcome", "Verification", "show", "verify"]
