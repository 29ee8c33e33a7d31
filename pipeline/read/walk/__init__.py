"""Walk: the members of a crawl file, one stream for the walk and the reader."""
