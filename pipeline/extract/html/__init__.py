"""html: a page's bytes -> nodes in reading order."""
