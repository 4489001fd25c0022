"""Measurements. Each module is a command: ``python -m benchmarks.latency --help``. None is imported by the product."""
