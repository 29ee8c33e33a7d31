"""Reading a crawl: what a user names as input becomes parts, and a part becomes records.

inputs, index -> file names in order; parts -> runs of whole records; members -> one compressed
member or plain record at a time (codec, compressed, plain_records: the formats); records, payload
-> what extract works on.
"""
