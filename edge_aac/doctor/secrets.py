"""Hides what is secret in texts that leave the device by a user's hand: findings, logs, settings."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from pydantic import BaseModel, SecretBytes, SecretStr

from edge_aac.credentials import MAX_BYTES
from edge_aac.doctor.contract import Context, Finding
from edge_aac.errors import EdgeAacError
from edge_aac.settings.faults import Chosen
from edge_aac.settings.fields import Setting
from edge_aac.settings.layers import read_file
from edge_aac.settings.toml import HIDDEN
from edge_aac.settings.tree import Settings

_SOUNDS_SECRET = re.compile(
    r"passw|passphrase|pwd|secret|token|credential|private|auth|(?:^|[^a-z])key(?:$|[^a-z])|apikey", re.I
)
_USER_INFO = re.compile(r"[a-z][a-z0-9+.-]*://(\S*)@", re.I)
# As settings/toml.py hides them in one value; in a text of several, each ends at the quote that ends the value.
_USER_INFO_IN_TEXT = re.compile(r'(?<=://)[^\s"]*@')
_OPTION_IN_TEXT = re.compile(r'([?&][^=&#\s"]*(?:passw|secret|token|key|auth|pwd)[^=&#\s"]*=)[^&#\s"]*', re.I)
_OPTION = re.compile(r"[?&#]([^=&#\s]+)=([^&#\s]+)")
# password=…, "token": "…", Authorization: Bearer … as programs log them.
_ASSIGNMENT = re.compile(
    r"""((?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|credentials?|authorization)["']?\s*[=:]\s*)"""
    r"""(?:(?:bearer|basic|digest)\s+)?("[^"]*"|'[^']*'|[^\s,;&"']+)""",
    re.I,
)
_HOME = re.compile(r"(?<![^\s\"'=:(,\[])(/(?:home|Users|var/home|export/home))/[^/\s\"':,;)\]]+")
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S)
_SWITCHES = {"", "0", "1", "true", "false", "yes", "no", "on", "off", "none", "null"}
_SHORTEST_SUBSTRING = 4
"""A shorter secret is hidden as a whole word alone, or it would hide pieces of other words."""


class Scrubber:
    """Hides known secrets wherever they stand, and what looks like one.

    Args:
        secrets: the secrets; what is written of one percent-encoded or decoded is hidden too.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret) if form.strip() and form != HIDDEN}
        # The longest first: one may hold another.
        patterns = [
            re.escape(form) if len(form) >= _SHORTEST_SUBSTRING else rf"(?<!\w){re.escape(form)}(?!\w)"
            for form in sorted(forms, key=len, reverse=True)
        ]
        self._known = re.compile("|".join(patterns)) if patterns else None

    @classmethod
    def of(cls, context: Context) -> Scrubber:
        """A scrubber that knows the secrets of settings and environment.

        These are the values of secret settings, user and password of addresses, options of addresses, variables and
        settings that sound secret, and what stands in files that such settings name; also where the settings have a
        fault.
        """
        found = {*_of_environment(context.environment), *_of_table("", context.given)}
        for file in context.files:
            found |= set(_of_file(file))
        if context.loaded is not None:
            found |= set(_of_settings(context.loaded))
        for reference in [each for each in found if each.startswith(("file:", "env:"))]:
            # Of an address's credentials=file:PATH; the path is no secret.
            found.discard(reference)
            kind, _, name = unquote(reference).partition(":")
            found |= set(_of_login(context.environment.get(name, ""))) if kind == "env" else set(_and_of_a_file(name))
        return cls(found)

    def text(self, text: str) -> str:
        """A text without secrets, and without the names of users in paths of their homes."""
        text = _PEM.sub(HIDDEN, text)
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        text = _OPTION_IN_TEXT.sub(rf"\g<1>{HIDDEN}", _USER_INFO_IN_TEXT.sub(f"{HIDDEN}@", text))
        text = _ASSIGNMENT.sub(_hidden, text)
        return _HOME.sub(r"\g<1>/USER", text)

    def finding(self, finding: Finding) -> Finding:
        """A finding without secrets."""
        return Finding(finding.status, self.text(finding.text), self.text(finding.mend))


def _hidden(assignment: re.Match[str]) -> str:
    """An assignment with its value hidden, in the quotes that it had."""
    quoted = assignment[2][:1] if assignment[2][:1] in {'"', "'"} else ""
    return f"{assignment[1]}{quoted}{HIDDEN}{quoted}"


def _forms(secret: str) -> Iterable[str]:
    """A secret, and what it may look like in an address, in JSON, and in Python's messages."""
    in_json = json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]
    return secret, quote(secret), quote(secret, safe=""), unquote(secret), *in_json, repr(secret)[1:-1]


def _of_environment(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if _SOUNDS_SECRET.search(name):
            yield from _and_of_a_file(value)
        yield from _of_text(value)


def _of_file(path: Path) -> Iterator[str]:
    """Secrets of a configuration file, which may have a fault or be no TOML at all."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return
    for line in text.splitlines():
        yield from _of_text(line)
        name, equals, value = line.partition("=")
        if equals and _SOUNDS_SECRET.search(name):
            yield from _and_of_a_file(value.strip().strip("\"'"))
    with suppress(EdgeAacError):
        yield from _of_table("", read_file(path).table)


def _of_table(name: str, value: Any) -> Iterator[str]:
    """Secrets of a table as a file has it, by the names of its keys."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _of_table(str(key), each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _of_table(name, each)
    elif isinstance(value, (str, Path)):
        if _SOUNDS_SECRET.search(name):
            yield from _and_of_a_file(str(value))
        yield from _of_text(str(value))


def _of_settings(settings: Settings) -> Iterator[str]:
    for section, table in settings.every_table():
        known = settings.sections[section]
        if isinstance(table, Chosen):
            yield from _of_model(table.settings, known.kinds[table.kind].settings(section))
        else:
            yield from _of_model(table, known.settings)


def _of_model(model: BaseModel, settings: Mapping[str, Setting]) -> Iterator[str]:
    for name, setting in settings.items():
        value = getattr(model, name, None)
        if value is None:
            continue
        secret = setting.secret or bool(_SOUNDS_SECRET.search(name))
        for text in _texts(value):
            if secret:
                yield from _and_of_a_file(text)
            yield from _of_text(text)


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value, however deep."""
    if isinstance(value, (SecretStr, SecretBytes)):
        value = value.get_secret_value()
    if isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, (str, Path)):
        yield str(value)
    elif isinstance(value, BaseModel):
        yield from _texts(dict(value))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from _texts(each)


def _of_text(text: str) -> Iterator[str]:
    """Secrets in an address: user and password, and options that sound secret."""
    for match in _USER_INFO.finditer(text):
        user, _, password = match[1].partition(":")
        yield match[1]
        yield password
        # A user's name is half of what is needed to log in, but a word that is common hides half of the log.
        if user not in {"user", "root", "admin", "edge-aac", "service", "audio", "video"}:
            yield user
    for name, value in _OPTION.findall(text):
        if _SOUNDS_SECRET.search(name):
            yield value


def _and_of_a_file(value: str) -> Iterator[str]:
    """A value, or, where it names a file or a variable (``file:PATH``, ``env:NAME``), what that holds."""
    kind, _, name = value.partition(":")
    if kind == "env":
        yield from _of_login(os.environ.get(name, ""))
        return
    if kind == "file":
        value = os.path.expanduser(name)
    path = Path(value)
    try:
        if value and path.is_absolute() and path.is_file():
            if path.stat().st_size <= MAX_BYTES:
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                    yield from _of_login(line.strip())
            return
    except (OSError, ValueError):
        pass
    if _is_plain(value):
        yield value


def _of_login(line: str) -> Iterator[str]:
    """A line such as USER:PASSWORD, ?NAME=VALUE or a password alone."""
    yield line
    yield re.split(r"[:=]", line, maxsplit=1)[-1].strip()


def _is_plain(value: str) -> bool:
    """Whether a value can be a secret: not a switch, nor the path of a socket such as SSH_AUTH_SOCK has."""
    return not value.startswith("/") and value.lower() not in _SWITCHES
