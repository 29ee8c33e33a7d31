"""fetch: every wanted image asked for politely, safely and once.

In:   wanted/PARTITION.parquet: a registered domain is one partition's affair.
Out:  images/fetch-PARTITION-ROUND.parquet, a row for every wanted URL, and packs/ with the bytes.
Read: steps.py (the graph, and what is at rest in the end), worker.py (partitions side by side),
      partition.py (one partition's loop), commits.py (what is at rest meanwhile); in hosts/:
      request.py (one URL, hop by hop), permission.py (whether it may be asked for), host.py (one
      site's manners), wire.py (one request), guard.py (where a connection may go).
"""
