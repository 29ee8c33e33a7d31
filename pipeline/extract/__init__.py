"""extract: records of a crawl become documents and image files; html/ reads a page."""
