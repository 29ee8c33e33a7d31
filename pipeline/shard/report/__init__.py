"""Report: what people look at, made by the shard stage from what lies at rest.

    tables/    a row a document, image node and drop; the text of a reason beside what it dropped
    report.html    the funnel, the figures, documents as they read, samples of what each rule drops
    README.md    the dataset card, by which `datasets` reads the shards

All of it is a pure function of the run: no time, host or path of the output is in it.
"""
