"""The licence of each file of a Debian package, read from its machine-readable copyright file.

The format is Debian's "DEP-5": paragraphs of ``Files`` patterns with ``License`` and ``Copyright``, of which the last
that matches a file counts. The patterns speak of the source tree, a package holds installed files: a pattern is taken
to mean a file where the end of the one is the end of the other, and in doubt the file must be free under every
paragraph that may be meant.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

_DATA_FOLDER = re.compile("data|sound|audio|music|media|asset|sfx|wav|ogg|resource|content", re.IGNORECASE)

_NAMED, _KIND = 100, 50
"""How much a pattern's agreement counts that names a file, or a kind of file, over one that names folders."""


class Verdict(Enum):
    """What a licence allows of the sounds that a published model learns from."""

    PERMISSIVE = "permissive"
    SHARE_ALIKE = "share-alike"
    NON_COMMERCIAL = "non-commercial"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Licence:
    """What a copyright file says of one file.

    Attributes:
        name: the licence's short name as written there, "" where nothing is said.
        author: holders of the copyright, in one line.
    """

    name: str
    author: str

    @property
    def verdict(self) -> Verdict:
        """Of the licence as a whole: the best of alternatives, the worst of what holds together."""
        return judged(self.name)


@dataclass(frozen=True)
class _Paragraph:
    patterns: tuple[str, ...]
    licence: Licence

    def lost_folder(self, path: Sequence[str]) -> bool:
        """Whether a pattern speaks of a whole folder of data that is found nowhere in an installed path."""
        folders = [pattern.split("/")[:-1] for pattern in self.patterns if pattern.endswith("/*")]
        return any(
            _DATA_FOLDER.search(folder[-1]) is not None and folder[-1] not in path for folder in folders if folder
        )


_SHARE_ALIKE = re.compile(
    r"\b(?:[al]?gpl|gnu|gfdl|agpl|mpl|cecill|epl|cddl|dsl|oal|artlibre|fal|free[- ]art|share|eupl|osl)|"
    r"(?:^|[-_ ])sa(?:[-_ .0-9]|$)|sampling",
    re.IGNORECASE,
)
_NON_COMMERCIAL = re.compile(r"(?:^|[-_ ])n[cd](?:[-_ .0-9]|$)|non-?commercial|no-?deriv", re.IGNORECASE)
_PERMISSIVE = re.compile(
    r"^(?:cc0|cc-?zero|cc[- ]?by(?![-_ ]?(?:sa|nc|nd))|"
    r"creative[- ]commons[- ](?:zero|0|attribution(?![- ](?:share|non)))|"
    r"public[- ]?domain|pd\b|expat|mit|x11|(?:[a-z0-9]+-)?bsd|(?:[0-9]-clause-)?bsd|apache|zlib|libpng|isc|wtfpl|"
    r"unlicen[sc]e|boost|bsl|fsfap|0bsd|ncsa|beerware|artistic-2|hpnd|ofl|sil)",
    re.IGNORECASE,
)


def judged(name: str) -> Verdict:
    """What a licence's short name allows.

    ``or`` offers alternatives: one that is permissive is enough. ``and`` and commas bind together: all must be.
    """
    if not name.strip():
        return Verdict.UNKNOWN
    order = list(Verdict)
    best = order[-1]
    for alternative in re.split(r"\s+or\s+|\s*\|\s*", name.strip(), flags=re.IGNORECASE):
        parts = [part for part in re.split(r"\s+and\s+|\s*,\s*|\s*;\s*", alternative, flags=re.IGNORECASE) if part]
        worst = max((_judged_part(part) for part in parts), key=order.index, default=order[-1])
        best = min(best, worst, key=order.index)
    return best


def _judged_part(name: str) -> Verdict:
    if _NON_COMMERCIAL.search(name):
        return Verdict.NON_COMMERCIAL
    if _SHARE_ALIKE.search(name):
        return Verdict.SHARE_ALIKE
    return Verdict.PERMISSIVE if _PERMISSIVE.match(name.strip()) else Verdict.UNKNOWN


class CopyrightFile:
    """A copyright file, asked for the licence of single files.

    Args:
        text: its content; one that is not machine-readable says nothing of any file.
        decided: licence of all files, where a person has read the notice.
    """

    def __init__(self, text: str, decided: Licence | None = None) -> None:
        self.paragraphs = tuple(_paragraphs(text)) if decided is None else (_Paragraph(("*",), decided),)

    @property
    def readable(self) -> bool:
        """Whether it is in the machine-readable format."""
        return bool(self.paragraphs)

    def licence(self, path: str) -> Licence:
        """What is said of an installed file.

        Where several paragraphs may speak of the file with equal right, their licences are joined by "and".
        """
        parts = PurePosixPath(path).parts
        scores = [max(_agreement(pattern, parts) for pattern in own.patterns) for own in self.paragraphs]
        best = max(scores, default=-1)
        if best < 0:
            return Licence("", "")
        first = scores.index(best)
        meant = []
        for index, (score, own) in enumerate(zip(scores, self.paragraphs, strict=True)):
            # A later paragraph overrides an earlier one. Where only "*" fits, the file may also lie in a folder of the
            # source tree that its installed path lacks. Neither is certain, so it binds only where it forbids more.
            doubtful = best < _NAMED and index > first and score > 0
            doubtful = doubtful or (not best and own.lost_folder(parts))
            if score == best or (doubtful and own.licence.verdict is not Verdict.PERMISSIVE):
                meant.append(own.licence)
        names = list(dict.fromkeys(licence.name for licence in meant))
        authors = list(dict.fromkeys(licence.author for licence in meant if licence.author))
        return Licence(" and ".join(names), "; ".join(authors))


def _agreement(pattern: str, path: Sequence[str]) -> int:
    """How closely a pattern fits an installed file: the number of its named parts that agree, −1 where it does not.

    The pattern's first parts are those of a source tree and may be lacking in the path, and the other way round. A
    pattern that names nothing (``*``) fits everything with 0.
    """
    wanted = [part for part in pattern.split("/") if part not in ("", ".")]
    if not wanted or wanted == ["*"]:
        return 0
    if wanted[0] == "debian":
        return -1
    last = wanted[-1]
    if "*" not in last and "?" not in last:
        if last == path[-1]:
            common = _common_end(wanted[:-1], path[:-1])
            # A file of this name in another folder may be another file.
            return _NAMED + common if common or len(wanted) == 1 else 0
        # A folder is sometimes named without "/*".
        return 1 + _deepest(wanted, path[:-1]) if last in path[:-1] else -1
    if not fnmatch.fnmatchcase(path[-1], last):
        # "*" crosses folders, so "sounds/*.ogg" may fit a file deeper than its folder.
        return -1
    folders = wanted[:-1]
    named = 0 if set(last) <= {"*", "?"} else _KIND + len(last.replace("*", ""))
    if not folders:
        return named
    deepest = _deepest(folders, path[:-1])
    return named + 1 + deepest if deepest >= 0 else -1


def _deepest(folders: Sequence[str], path: Sequence[str]) -> int:
    """Position in the path of the pattern's last folder where the folders before it do not contradict; −1 for none."""
    for at in range(len(path) - 1, -1, -1):
        if fnmatch.fnmatchcase(path[at], folders[-1]):
            return at + _common_end(folders[:-1], path[:at])
    return -1


def _common_end(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if not fnmatch.fnmatchcase(right, left):
            break
        count += 1
    return count


def _paragraphs(text: str) -> list[_Paragraph]:
    found = []
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        values = _fields(block)
        if "files" in values and "license" in values:
            name = values["license"].split("\n", 1)[0].strip()
            author = " ".join(values.get("copyright", "").split())[:200]
            found.append(_Paragraph(tuple(values["files"].split()), Licence(name, author)))
    return found


def _fields(block: str) -> dict[str, str]:
    values: dict[str, str] = {}
    name = ""
    for line in block.split("\n"):
        if match := re.match(r"([A-Za-z-]+):[ \t]*(.*)$", line):
            name = match[1].lower()
            values[name] = match[2]
        elif name and line[:1] in (" ", "\t"):
            values[name] += "\n" + line.strip()
    return values
