"""Which classes of labelled recordings a caption names, whichever bundle says it."""

from __future__ import annotations

from collections.abc import Callable

from edge_aac.fluency.sound_names import SoundNames
from quantize.data.everyday.lexicon import english
from quantize.data.lexicon import LABELS, named_events


def class_reader(names: SoundNames | None) -> Callable[[str], list[str]]:
    """A function from a caption to the classes of ESC-10 that it names.

    Args:
        names: sounds that the bundle lists. A sound, or a finer one, of such a class is read as the class, any other as
            itself: one that is not there counts as false. None for a bundle of these ten classes.
    """
    if names is None:
        return named_events
    labels = {sound: label for label, sound in english().by_label.items() if label in LABELS}

    def read(text: str) -> list[str]:
        return [
            next((labels[one] for one in (sound, *names.ancestors(sound)) if one in labels), sound)
            for sound in names.named(text)
        ]

    return read
