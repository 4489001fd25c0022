"""Which cases of parametrised tests run where not all do."""

from __future__ import annotations

from collections.abc import Iterable

ONE_CASE_VARIABLE = "EDGE_AAC_TEST_ONE_CASE"
"""Set by script/test on every Python but the main one: cases differ in their data, which no Python changes, while each
test function is code that a Python may run otherwise."""


def one_case_each(node_ids: Iterable[str], minor: int) -> set[str]:
    """Of each test function one of its cases, another one for another minor version.

    Args:
        node_ids: "path::test[case]" or "path::test".
        minor: of the Python.
    """
    cases: dict[str, list[str]] = {}
    for node_id in node_ids:
        cases.setdefault(node_id.partition("[")[0], []).append(node_id)
    return {of_one[minor % len(of_one)] for of_one in cases.values()}
