"""Shards: tars with their index and token counts, read by ranges."""
