"""verify: a run's files in, counted again from what lies at rest; what is not as it was made out.

crawl ─warcio─> records    documents/, verdicts/, kept/ ─rows─> seen, dropped, kept
tars ─tarfile─> samples    manifests ─told─> what all of them are held against

Counts     every sum of every stage, part by part (count.py, tally.py)
Sources    every file against what it was made from: rows against records (crawl.py) and themselves
           (rows.py), packs and pictures (packs.py, pictures.py), values against limits (limits.py,
           passed.py), kept/ and verdicts against images/ (claims.py), wanted/ (wanted.py), tables/
           (tables.py), samples (tars.py, digest.py), the report and the card (told.py, front.py)
Bytes      every byte of a Parquet file (packed.py), a tar (archive.py), a manifest (files.py)
Not seen   words and pictures of report.html, prose of the card, values of *.host.json; columns that
           nothing else tells, if someone packs the file anew (tests/verify/test_verify_columns.py)
"""

from pipeline.verify.checks import Check, Outcome, Verification
from pipeline.verify.printed import show
from pipeline.verify.whole import verify

__all__ = ["Check", "Outcome", "Verification", "show", "verify"]
