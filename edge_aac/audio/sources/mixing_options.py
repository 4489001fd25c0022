"""The options ``?channel=`` and ``?mix=`` of the sources that may have several channels."""

from __future__ import annotations

from edge_aac.audio.mixing import Mixing
from edge_aac.audio.sources.address import integer_option
from edge_aac.errors import UsageError

MIXING_OPTIONS = ("channel", "mix")
MAX_CHANNELS = 1024
"""As many as libsndfile takes."""


def mixing_of(options: dict[str, str]) -> Mixing:
    """Reads ``channel`` (counted from 1) and ``mix`` (``equalized``, which is the default, or ``mean``).

    Args:
        options: of an address, as :func:`~edge_aac.audio.sources.address.split_query` gives them.

    Raises:
        UsageError: one is unusable, or both are given.
    """
    if len(options.keys() & set(MIXING_OPTIONS)) > 1:
        raise UsageError("The source's options 'channel' and 'mix' exclude each other: one channel is not mixed.")
    if "channel" in options:
        return Mixing(channel=integer_option(options, "channel", 1, 1, MAX_CHANNELS))
    rule = options.get("mix", "equalized")
    if rule == "equalized":
        return Mixing()
    if rule == "mean":
        return Mixing("mean")
    raise UsageError(f"mix={rule} is unusable: write mix=equalized or mix=mean.")
