"""What a true caption may call the sounds of the demo, whichever bundle says it."""

from __future__ import annotations

import re

WORDS = {
    "rain": r"\brain",
    "clock": r"\bclock|\bwatch\b|\btick",
    "birdsong": "bird",
    "stream": "stream|water|brook",
    "speech": "speak|speech|talk|voice|convers|chatter|people|somebody|someone|a person",
    "drum": "drum|music|instrument",
}
"""Sound → its own names, or those of its kind."""


def tells(sound: str, caption: str) -> bool:
    """Whether a caption tells of a sound."""
    return re.search(WORDS[sound], caption.lower()) is not None
