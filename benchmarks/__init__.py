"""Measurements. Each module is a command: ``python -m benchmarks.latency --help``. `edge-aac bench` is in
:mod:`benchmarks.commands`; the runtime imports none of them."""
