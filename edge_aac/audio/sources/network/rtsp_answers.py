"""What an RTSP server answers, followed as far as to find out that it sends its client elsewhere."""

from __future__ import annotations

import re

from edge_aac.errors import DataError

_HIGHEST_HEAD_BYTES = 64 * 1024
_FRAME = b"$"
_FRAME_HEAD_BYTES = 4
_END = re.compile(rb"\r?\n\r?\n")
_REDIRECTION = re.compile(rb"RTSP/[0-9.]+[ \t]+3[0-9]{2}\b")
_LENGTH = re.compile(rb"^content-length:[ \t]*([0-9]{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_LOCATION = re.compile(rb"^location:[ \t]*(\S+)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_SEQUENCE = re.compile(rb"^cseq:[ \t]*([0-9]{1,10})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


def sequence_of(head: bytes) -> str:
    """Gives the number of a request or an answer as a header line; empty where it has none."""
    found = _SEQUENCE.search(head)
    return f"CSeq: {found[1].decode('ascii')}\r\n" if found else ""


class RedirectedError(Exception):
    """The server sends its client elsewhere.

    Args:
        head: the head of the answer.

    Attributes:
        location: where to; empty where the answer does not tell.
        sequence: the answer's number, see :func:`sequence_of`.
    """

    def __init__(self, head: bytes) -> None:
        super().__init__("redirected")
        found = _LOCATION.search(head)
        self.location = found[1].decode("latin-1") if found else ""
        self.sequence = sequence_of(head)


class RtspAnswers:
    """Follows what a server sends over one connection: answers, requests of its own, and frames of sound between them.

    RFC 2326, sections 4.4, 7 and 10.12.
    """

    def __init__(self) -> None:
        self._held = b""
        self._passing_bytes = 0

    def feed(self, data: bytes) -> bytes:
        """Takes what the server has sent, and gives what may be passed on: of a head all or nothing.

        Raises:
            RedirectedError: it is the answer that sends the client elsewhere.
            DataError: the server does not speak RTSP.
        """
        passed = bytearray()
        self._held += data
        while self._held:
            if self._passing_bytes:
                part = self._held[: self._passing_bytes]
                passed += part
                self._held = self._held[len(part) :]
                self._passing_bytes -= len(part)
            elif self._held.startswith(_FRAME):
                if len(self._held) < _FRAME_HEAD_BYTES:
                    break
                self._passing_bytes = _FRAME_HEAD_BYTES + int.from_bytes(self._held[2:_FRAME_HEAD_BYTES], "big")
            elif self._held[:1] in {b"\r", b"\n"}:
                self._passing_bytes = 1  # between two messages: no server should, some do
            else:
                end = _END.search(self._held)
                if end is None:
                    if len(self._held) > _HIGHEST_HEAD_BYTES:
                        raise DataError("a server does not speak RTSP")
                    break
                head = self._held[: end.end()]
                if _REDIRECTION.match(head):
                    raise RedirectedError(head)
                length = _LENGTH.search(head)
                self._passing_bytes = len(head) + (int(length[1]) if length else 0)
        return bytes(passed)
