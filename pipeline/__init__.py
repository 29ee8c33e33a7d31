"""Beam stages: a web crawl in, image-text shards out, everything on the way accounted for."""
