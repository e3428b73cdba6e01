"""Benchmarks: the engine under load (``python -m benches``), and its parts in-process (pytest-benchmark)."""
