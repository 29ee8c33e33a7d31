"""Data: shards of documents in, packed batches out, planned from token counts."""
