"""A signal whose exception Python ignores, as in ``__del__`` and in callbacks of C, ends the process all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.one_python

_SCRIPT = """
import os, signal
from edge_aac import signals

signals.hold()
signals.end_by_exception()

class Ignoring:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        for _ in range(1000):
            pass

one = Ignoring()
del one
print("went on", flush=True)
signals.exit_if_swallowed()
print("not ended")
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_what_is_ignored_ends_it_later(name: str, code: int) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(name=name)], check=False, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout) == (code, "went on\n"), result.stderr
