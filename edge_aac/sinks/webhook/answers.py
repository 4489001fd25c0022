"""What a server's answer means for the message that was posted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from edge_aac.sinks.remote import RemoteFault

LONGEST_WAIT_S = 3600.0
_LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_CREDENTIALS = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED}
_WRONG_ADDRESS = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE}
_SUCCESS = range(200, 300)
_CLIENT_ERRORS = range(400, 500)
_SERVER_ERRORS = range(500, 600)


class MessageRefused(Exception):
    """The server takes this message never, and others perhaps."""


def judge(status: int, headers: Mapping[str, str], host: str) -> None:
    """Return where the message has arrived.

    Args:
        status: code of the answer.
        headers: of the answer, by name in lower case.
        host: name of the server.

    Raises:
        RemoteFault: it is to be posted again later.
        MessageRefused: it is not to be posted again.
    """
    if status in _SUCCESS:
        return
    words = f"{host} answers {_in_words(status)}"
    if status in _LATER or status in _SERVER_ERRORS:
        raise RemoteFault(words, wait_s=retry_after_s(headers))
    if status in _CREDENTIALS:
        raise RemoteFault(f"{words}: correct the token", refused=True)
    if status in _WRONG_ADDRESS or status not in _CLIENT_ERRORS:
        # Each message would be refused, for a reason that a person mends.
        raise RemoteFault(f"{words}: correct the address", refused=True)
    raise MessageRefused(words)


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds that an answer asks to wait for, see RFC 9110, 10.2.3; at most an hour, 0 where it says nothing.

    A moment is taken relative to the server's own ``Date``, so that a clock that is wrong here changes nothing.
    """
    text = (headers.get("retry-after") or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_WAIT_S)
    moment_s = _seconds(text)
    if moment_s is None:
        return 0.0
    now_s = _seconds(headers.get("date") or "")
    return min(max(0.0, moment_s - (time.time() if now_s is None else now_s)), LONGEST_WAIT_S)


def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _in_words(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
