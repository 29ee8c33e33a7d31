"""Data: shards in, batches out: sources, counts, the plan, rows and the stream (README.md)."""
