"""What the commands of this package share: how they end, and arguments that are checked."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable

from edge_aac.cli import INTERRUPTED
from edge_aac.errors import EdgeAacError
from edge_aac.terminal import escaped


def run(main: Callable[[], None]) -> None:
    """Run a benchmark; an error that a user can cause ends it with its sentence and exit code."""
    try:
        main()
    except EdgeAacError as error:
        print(escaped(str(error)), file=sys.stderr)
        sys.exit(error.exit_code)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # it has said why
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def at_least(smallest: int) -> Callable[[str], int]:
    """For ``type=``: a whole number, not below this."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < smallest:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {smallest}")
        return int(text)

    return number
