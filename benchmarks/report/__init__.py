"""`edge-aac bench --report`: how fast this machine captions, against what, how close to its limit, and what more costs.

:mod:`benchmarks.report.making` runs the sections; each of them measures ways (:mod:`benchmarks.report.worker`) side by
side and gives one table of numbers, which the page, the JSON file and the Markdown table show.
"""
