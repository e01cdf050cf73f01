"""Benchmarks: ratios measured in one run, printed as tables. `make bench` runs them all."""
