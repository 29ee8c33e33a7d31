"""Reading a crawl: what a user names as input becomes parts, and a part becomes records.

inputs -> names in order; parts -> runs of whole records; raw -> bytes; members -> one compressed
member or one plain record at a time; records -> what extract works on.
"""
