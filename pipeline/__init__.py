"""Beam stages that turn a web crawl into image-text shards, and account for everything on the way."""
