"""What the commands of this package share: how they end, and arguments that are checked."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable

from edge_aac.cli import run_command


def run(main: Callable[[], None]) -> None:
    """Run a benchmark; an error that a user can cause ends it with its sentence and exit code."""
    try:
        run_command(main)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # it has said why


def at_least(smallest: int) -> Callable[[str], int]:
    """For ``type=``: a whole number, not below this."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < smallest:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {smallest}")
        return int(text)

    return number
