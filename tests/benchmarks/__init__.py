"""The benchmarks measure what they say, and keep running."""
