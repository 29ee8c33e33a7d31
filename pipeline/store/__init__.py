"""Store: files of a run and of a crawl, Parquet, packs, on disks, in buckets, on the web."""
