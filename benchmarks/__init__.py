"""How fast things are, beside what is asked of them. Plain scripts: `python -m benchmarks.NAME`."""
