"""Adverbs of everyday captions, and what each says of its sound."""

from __future__ import annotations

ONCE = ("once",)
TWICE = ("twice",)
THREE_TIMES = ("three times",)
MANY_TIMES = ("several times", "again and again", "over and over", "repeatedly")
AGAIN = ("again", "once more")
FAR = ("in the distance", "far away", "far off", "some way off")
NEAR = ("nearby", "not far away")
LOUD = ("loudly",)
FAINT = ("faintly", "quietly")
LASTING = ("all the time", "without a break", "on and on", "continuously")
BRIEF = ("briefly", "for a moment", "for a short while")
BEHIND = ("in the background", "in the background", "behind it")
THROUGH = ("in the background", "the whole time", "throughout")
"""Of a sound that is heard through several others."""

SAYS: dict[str, str] = {
    phrase: says
    for says, phrases in {
        "1": ONCE,
        "2": TWICE,
        "3": THREE_TIMES,
        "many": MANY_TIMES,
        "again": AGAIN,
        "far": FAR,
        "near": NEAR,
        "loud": LOUD,
        "faint": FAINT,
        "lasting": LASTING,
        "brief": BRIEF,
        "behind": ("in the background", "behind it"),
        "through": ("the whole time", "throughout"),
    }.items()
    for phrase in phrases
}
"""Adverb → what it says."""
