"""fetch: every wanted image asked for politely, safely and once.

In:   wanted/PARTITION.parquet: a registered domain is one partition's affair.
Out:  images/fetch-PARTITION-ATTEMPT.parquet, a row for every wanted URL, and packs/ with the bytes.
Read: steps.py (the graph), partition.py (one partition's loop), host.py (one host's manners),
      request.py (one URL, hop by hop), guard.py (where a connection may go), store.py of ours.
"""
