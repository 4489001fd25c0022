"""Names of topics: one level for the node, one for each source, whatever their names hold."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass

LONGEST_SEGMENT_BYTES = 64
LONGEST_ROOT_BYTES = 64
_DIGEST_CHARACTERS = 16
_PLAIN = frozenset("-_.")


def segment(name: str) -> str:
    """A name as one level of a topic.

    Letters and digits of every script stay, as do ``-``, ``_`` and ``.``; any other character becomes ``%XX`` for each
    of its bytes in UTF-8. So two names never share a level, and none holds a wildcard, a slash, a blank or a control
    character. A level of more than 64 bytes is cut and ends in ``~`` and the beginning of the name's SHA-256. Bytes of
    a file's name that are no UTF-8 are kept as their own ``%XX``.
    """
    escaped = "".join(_escaped(character) for character in name) or "%"
    if len(escaped.encode()) <= LONGEST_SEGMENT_BYTES:
        return escaped
    digest = hashlib.sha256(_bytes(name)).hexdigest()[:_DIGEST_CHARACTERS]
    kept = escaped.encode()[: LONGEST_SEGMENT_BYTES - _DIGEST_CHARACTERS - 1].decode("utf-8", "ignore")
    # Half of an escape would read as another one.
    if "%" in kept[-2:]:
        kept = kept[: kept.rindex("%")]
    return f"{kept}~{digest}"


def _escaped(character: str) -> str:
    if character in _PLAIN or unicodedata.category(character)[0] in "LNM":
        return character
    return "".join(f"%{byte:02X}" for byte in _bytes(character))


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def fault_of_root(root: str) -> str | None:
    """What is wrong with a root of topics, as the end of a sentence; None where it can be used."""
    if not root or len(root.encode("utf-8", "surrogatepass")) > LONGEST_ROOT_BYTES:
        return f"has from 1 to {LONGEST_ROOT_BYTES} bytes"
    if not root.isprintable() or any(character in "+#" for character in root):
        return "has no wildcard (+ or #) and no control character"
    if "" in root.split("/"):
        return "neither begins nor ends with a slash, and has no two slashes in a row"
    return None


@dataclass(frozen=True)
class Topics:
    """Topics of a device.

    Attributes:
        root: what all topics begin with.
        node: name of the device.
    """

    root: str
    node: str

    @property
    def base(self) -> str:
        """What all topics of the device begin with, without a slash at its end."""
        return f"{self.root}/{segment(self.node)}"

    @property
    def status(self) -> str:
        """``online`` or ``offline``."""
        return f"{self.base}/status"

    @property
    def doctor(self) -> str:
        """Messages of ``edge-aac doctor``, never retained. A source has two levels here, so that none is meant."""
        return f"{self.base}/doctor"

    def of(self, source: str, kind: str) -> str:
        """Topic of a source's records of a kind, such as "caption", or of its state, such as "enabled"."""
        return f"{self.base}/{segment(source)}/{segment(kind)}"

    def command(self, source: str, name: str) -> str:
        """Topic that a command for a source is sent to."""
        return f"{self.base}/{segment(source)}/set/{segment(name)}"

    def alert(self, source: str, rule: str) -> str:
        """Topic of the state of a rule for alerts, ``ON`` or ``OFF``; their records are on that of their kind."""
        return f"{self.of(source, 'alert')}/{segment(rule)}"

    def alert_attributes(self, source: str, rule: str) -> str:
        """Topic of the newest record of one rule's alerts."""
        return f"{self.alert(source, rule)}/attributes"

    @property
    def alerts(self) -> tuple[str, str]:
        """Filters of all topics of rules for alerts."""
        return f"{self.base}/+/alert/+", f"{self.base}/+/alert/+/attributes"

    def error(self, source: str) -> str:
        """Topic on which a command that is refused is answered."""
        return self.of(source, "error")

    @property
    def commands(self) -> str:
        """Filter of all commands."""
        return f"{self.base}/+/set/+"

    def parse_command(self, topic: str) -> tuple[str, str] | None:
        """Level of the source and name of the command of a topic; None for the topic of anything else.

        The level is :func:`segment` of the source's label, from which a label cannot be had back: compare it with the
        levels of the labels that are known.
        """
        before, _, rest = topic.partition(f"{self.base}/")
        source, _, name = rest.partition("/set/")
        if before or not source or not name or "/" in source or "/" in name:
            return None
        return source, name
