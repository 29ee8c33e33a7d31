"""fetch: every wanted image asked for politely, safely and once.

In:   wanted/PARTITION.parquet: a registered domain is one partition's affair.
Out:  images/fetch-PARTITION-ROUND.parquet, a row for every wanted URL, and packs/ with the bytes.
Read: steps.py (the graph), partition.py (one partition's loop), request.py (one URL, hop by hop),
      host.py (one site's manners), wire.py (one request), guard.py (where a connection may go),
      commits.py and settle.py (what is at rest meanwhile, and in the end).
"""
