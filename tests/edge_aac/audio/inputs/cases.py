"""One input with what may become of it, and what did."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.edge_aac.audio.inputs.children import hear_each
from tests.edge_aac.audio.inputs.hearing import HEARD, REFUSED, TOO_MUCH, WARNED, Outcome, verdict

ALL_HEARD = frozenset({HEARD, WARNED})
# The header is wrong, and all is heard in spite of it.
HEARD_WITH_A_WARNING = frozenset({WARNED})
HEARD_OR_REFUSED = frozenset({HEARD, WARNED, REFUSED})
ONLY_REFUSED = frozenset({REFUSED})

# What the messages may call a container.
_NAMES = {
    "WAVEX": ("WAV",),
    "RIFX": ("RIFX", "WAV"),
    "AIFC": ("AIFF", "AIFC"),
    "NIST": ("NIST",),
    "IRCAM": ("IRCAM", "SF "),
    "MAT4": ("MAT",),
    "MAT5": ("MAT",),
    "MPC2K": ("MPC",),
    "SVX": ("SVX", "IFF"),
    "OGG": ("Ogg",),
}
_WORKS = ("WAV", "FLAC", "AU", "raw", "MP3")


@dataclass(frozen=True)
class Input:
    """Bytes that somebody gives the program, and what may become of them.

    Attributes:
        kind: what is special about them.
        container: name of the container.
        name: which of the kind.
        content: the bytes.
        expected: the sound in them, mono at 16 kHz.
        wanted: verdicts that are right.
        exact: whether the samples are kept as they are.
        tolerance: samples that may be missing, or too many.
        unstreamable: whether a pipe of this container may be refused by name.
        more_with_a_warning: whether bytes behind the sound may be heard, with a warning: nothing tells them from sound.
    """

    kind: str
    container: str
    name: str
    content: bytes = field(repr=False)
    expected: np.ndarray = field(repr=False)
    wanted: frozenset[str] = ALL_HEARD
    exact: bool = True
    tolerance: int = 0
    unstreamable: bool = False
    more_with_a_warning: bool = False

    @property
    def verdicts(self) -> frozenset[str]:
        """The verdicts that are right: what the library cannot be trusted with is refused, whatever is in it."""
        unreadable = self.container == "SDS" or (self.name.startswith("PAF-PCM_24") and self.name.endswith("-3"))
        return ONLY_REFUSED if unreadable else self.wanted


@dataclass
class Tally:
    """How many inputs were tried, and what became of them: (kind, container, way) to the counts of verdicts."""

    counts: dict[tuple[str, str, str], collections.Counter[str]] = field(
        default_factory=lambda: collections.defaultdict(collections.Counter)
    )
    failures: list[str] = field(default_factory=list)

    def try_all(self, inputs: Iterable[Input], way: str, folder: Path) -> Tally:
        """Hears inputs one way, and notes those that did not become what they should."""
        items = list(inputs)
        for item, outcome in zip(items, hear_each([item.content for item in items], way, folder), strict=True):
            found = verdict(outcome, item.expected, exact=item.exact, tolerance=item.tolerance)
            if found == TOO_MUCH and item.more_with_a_warning and outcome.warnings:
                found = WARNED
            if found == REFUSED and REFUSED not in item.verdicts and way == "file":
                found = "REFUSED WRONGLY"
            elif found == REFUSED and REFUSED not in item.verdicts and not names_the_mend(item, outcome):
                found = "REFUSED WITHOUT A MEND" if item.unstreamable else "REFUSED WRONGLY"
            self.counts[item.kind, item.container, way][found] += 1
            if found not in item.verdicts and found != REFUSED:
                self.failures.append(_failure(item, way, found, outcome))
        return self

    def check(self) -> None:
        """Fails where an input did not become what it should."""
        tried = sum(sum(verdicts.values()) for verdicts in self.counts.values())
        assert tried, "nothing was tried"
        assert not self.failures, f"{len(self.failures)} of {tried}:\n" + "\n".join(self.failures[:25])


def names_the_mend(item: Input, outcome: Outcome) -> bool:
    """Whether a refused pipe is told which container it holds, and one that would be heard."""
    text = str(outcome.error)
    family = item.container.partition("-")[0]
    named = any(name.lower() in text.lower() for name in _NAMES.get(family, (family,)))
    others = [word for word in _WORKS if word.lower() not in family.lower()]
    return item.unstreamable and named and any(word in text for word in others)


def _failure(item: Input, way: str, found: str, outcome: Outcome) -> str:
    wanted = " or ".join(sorted(item.verdicts))
    place = f"\n{outcome.trace}" if found == "TRACEBACK" else ""
    became = f"{found} ({outcome} of {len(item.expected) / 16_000:.3f} s)"
    return f"{item.container}, {item.kind} {item.name}, {way}: {became}, wanted {wanted}{place}"
