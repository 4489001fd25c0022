"""A header's length is a promise: what is said where the sound is longer or shorter."""

from __future__ import annotations

import logging

from edge_aac.errors import DataError

TOLERATED_S = 0.1
"""A header may be off by so much; what is missing of a cut file is more."""

_log = logging.getLogger(__name__)


def warn_of_more(name: str, promised_s: float) -> None:
    """Tells that an input is longer than its header promises.

    Args:
        name: the input's name.
        promised_s: duration that the header promises, in seconds.
    """
    _log.warning(
        "'%s' goes on after the %.2f s of sound that its header promises: it is read to its end", name, promised_s
    )


def judge_less(name: str, held_s: float, promised_s: float, *, whole: bool) -> None:
    """Tells that an input is shorter than its header promises.

    Args:
        name: the input's name.
        held_s: duration of the sound that was there, in seconds.
        promised_s: duration that the header promises, in seconds.
        whole: whether the header is taken for wrong, and not the input for cut.

    Raises:
        DataError: the input is cut.
    """
    if not whole:
        raise DataError(
            f"'{name}' is truncated: it holds {held_s:.2f} s of the {promised_s:.2f} s that its header promises; "
            "copy it again from where it came from."
        )
    _log.warning(
        "'%s' has a header that promises %.3f s of sound, and %.3f s are there: all of them are heard",
        name,
        promised_s,
        held_s,
    )
