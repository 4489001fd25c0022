"""Forms in which services on the web take a message."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_aac.records import Record, as_text

FIELDS = ("sentence", "line", "source", "node", "kind", "start", "end")
_PLACE = re.compile(r"\{([^{}]*)\}")
_DISCORD_CHARACTERS = 2000
_TELEGRAM_CHARACTERS = 4096
_NTFY_BYTES = 4000


@dataclass(frozen=True)
class Post:
    """What is posted.

    Attributes:
        body: its bytes.
        headers: of the request, by name.
    """

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def checked_template(template: str) -> str:
    """A template as it is.

    Raises:
        ValueError: it has a place for something that no record holds.
    """
    for name in _PLACE.findall(template):
        if name not in FIELDS:
            raise ValueError(f"{{{name}}} stands for nothing: use {', '.join(f'{{{known}}}' for known in FIELDS)}")
    if not template.strip():
        raise ValueError("it must hold text")
    return template


def filled(template: str, record: Record) -> str:
    """The text of a record by a template; what the record does not hold is left empty."""
    table = {
        "sentence": record.sentence(),
        "line": record.line(),
        "source": record.source,
        "node": record.node,
        "kind": record.kind,
        "start": _moment(record.start, record.start_s),
        "end": _moment(record.end, record.end_s),
    }
    return as_text(_PLACE.sub(lambda place: table[place[1]], template))


def _moment(time: str | None, seconds: float | None) -> str:
    return time or ("" if seconds is None else f"{seconds:.1f} s")


def _as_json(table: object) -> Post:
    return Post(json.dumps(table).encode(), {"Content-Type": "application/json"})


def _json(record: Record, template: str, chat: str | None) -> Post:
    return Post(record.to_json().encode("utf-8", "replace"), {"Content-Type": "application/json"})


def _text(record: Record, template: str, chat: str | None) -> Post:
    return Post(filled(template, record).encode(), {"Content-Type": "text/plain; charset=utf-8"})


def _ntfy(record: Record, template: str, chat: str | None) -> Post:
    body = filled(template, record).encode()[:_NTFY_BYTES].decode("utf-8", "ignore").encode()
    title = as_text(record.node)
    # RFC 2047, which ntfy reads in headers.
    word = title if title.isascii() and title.isprintable() else f"=?UTF-8?B?{b64encode(title.encode()).decode()}?="
    return Post(body, {"Content-Type": "text/plain; charset=utf-8", "Title": word})


def _discord(record: Record, template: str, chat: str | None) -> Post:
    # Nothing that was heard may call "@everyone".
    return _as_json({"content": filled(template, record)[:_DISCORD_CHARACTERS], "allowed_mentions": {"parse": []}})


def _slack(record: Record, template: str, chat: str | None) -> Post:
    text = filled(template, record).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _as_json({"text": text})


def _telegram(record: Record, template: str, chat: str | None) -> Post:
    return _as_json({"chat_id": chat, "text": filled(template, record)[:_TELEGRAM_CHARACTERS]})


SHAPES: dict[str, Callable[[Record, str, str | None], Post]] = {
    "json": _json,
    "text": _text,
    "ntfy": _ntfy,
    "discord": _discord,
    "slack": _slack,
    "telegram": _telegram,
}
"""Name of a shape → what it makes of a record, with a template and a chat."""
