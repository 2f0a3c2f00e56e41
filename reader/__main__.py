"""`python -m reader` is `rollups`."""

from reader.cli import main

main()
