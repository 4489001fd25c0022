"""Labels of addresses: without user, password or token."""

from __future__ import annotations

import re

_OPTIONS_OF_A_PATH = re.compile(r"\?[a-z_]+=[^?/]*$")
_BEGINNING_OF_A_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Percent-encoded too, where somebody encoded more than the password.
_OPTIONS_OF_A_URL = re.compile(r"\?|#|%3f|%23", re.IGNORECASE)
_ENCODED_USER = re.compile(r"^(?:[^/]*//)?[^/]*%40", re.IGNORECASE)


def label_of(scheme: str, uri: str) -> str:
    """Gives an address without what may be secret in it.

    Of a URL the user info, the options and the fragment are left out. A password may hold any character, also where the
    standard wants it encoded: everything before the last ``@`` is taken for user info, even at the cost of a piece of a
    path that holds an ``@``.

    Args:
        scheme: name that chooses the source's factory, in lower case.
        uri: the whole address.

    Returns:
        ``mic0`` of ``mic0``, ``garden.flac`` of ``file:garden.flac?speed=1``, ``demo`` of ``demo:?seed=3``,
        ``rtsp://host/x`` of ``rtsp://user:secret@host/x?token=1``.
    """
    if scheme == "mic" and "//" not in uri:
        # The name of a sound card's port follows an @, and no microphone has a password.
        return _OPTIONS_OF_A_PATH.sub("", uri)
    if scheme == "file":
        return label_of_path(uri.partition(":")[2])
    match = _BEGINNING_OF_A_URL.match(uri)
    beginning = match.group() if match else ""
    _, at, host = uri[len(beginning) :].rpartition("@")
    if not at:
        host = _ENCODED_USER.sub("", host, count=1)
    return _OPTIONS_OF_A_URL.split(beginning + host, maxsplit=1)[0].removesuffix(":")


def label_of_path(path: str) -> str:
    """Gives a file's path without options and, where it is no path but a URL, without user and password."""
    if path.startswith("//") and "@" in path:
        return "//" + path.rpartition("@")[2]
    return _OPTIONS_OF_A_PATH.sub("", path)
