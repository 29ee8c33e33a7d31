"""`python -m pipeline` is `interloom`."""

from pipeline.cli import main

main()
