"""Ogg: whether a file is one stream and has its end, of which libsndfile says nothing.

The pages are those of RFC 3533. Their checksums are left to libsndfile, which leaves damaged pages out and then
finds fewer samples than the last page promises.
"""

from __future__ import annotations

import logging
import os
from typing import BinaryIO

from edge_aac.errors import DataError

_log = logging.getLogger(__name__)

_CAPTURE = b"OggS"
_HEADER_BYTES = 27
_FLAGS, _SERIAL, _SEGMENTS = 5, slice(14, 18), 26
_FIRST_PAGE, _LAST_PAGE = 0x02, 0x04
_SEARCH_BYTES = 65_536


def refuse_partly_read(raw: BinaryIO, path: str) -> None:
    """Walks the pages of an Ogg file; a file of another kind passes.

    Args:
        raw: a regular file; it is left at its start.
        path: the file as the user wrote it.

    Raises:
        DataError: the last page is cut off, bytes that are no pages stand in place of the end, or a second stream
            follows the first, which libsndfile would not read.
    """
    if raw.read(len(_CAPTURE)) == _CAPTURE:
        _walk(raw, path)
    raw.seek(0)


def _walk(raw: BinaryIO, path: str) -> None:
    size = os.fstat(raw.fileno()).st_size
    unended: set[bytes] = set()
    sound_began = False
    end = 0
    while (page := _next_page(raw, end)) is not None:
        position, header = page
        lengths = raw.read(header[_SEGMENTS]) if len(header) == _HEADER_BYTES else b""
        whole = len(header) == _HEADER_BYTES and len(lengths) == header[_SEGMENTS]
        end = position + _HEADER_BYTES + len(lengths) + sum(lengths)
        if not whole or end > size:
            raise DataError(
                f"'{path}' is truncated: its last page is cut off; copy it again from where it came from, or keep "
                "what there is of it with `ffmpeg -i INPUT OUTPUT.flac`."
            )
        flags, serial = header[_FLAGS], header[_SERIAL]
        if flags & _FIRST_PAGE:
            # All streams that sound at the same time begin before any of them goes on.
            if sound_began:
                raise DataError(
                    f"'{path}' is several Ogg files one after the other, of which only the first would be heard: "
                    "join them with `ffmpeg -i INPUT OUTPUT.flac`."
                )
            unended.add(serial)
        else:
            sound_began = True
        if flags & _LAST_PAGE:
            unended.discard(serial)
    if unended and end < size:
        raise DataError(
            f"'{path}' is damaged: its last {size - end} bytes are no Ogg pages; copy it again from where it came from."
        )
    if unended:
        # No proof that anything is missing: MuseScore and recorders of live streams never mark the last page.
        _log.warning("'%s' has no mark at its end: it may be truncated, and is read as far as it goes.", path)


def _next_page(raw: BinaryIO, position: int) -> tuple[int, bytes] | None:
    """Finds the first page at or behind a position: where it begins, and its header, which the file's end may cut."""
    raw.seek(position)
    header = raw.read(_HEADER_BYTES)
    if header.startswith(_CAPTURE):
        return position, header
    while True:
        raw.seek(position)
        block = raw.read(_SEARCH_BYTES)
        found = block.find(_CAPTURE)
        if found >= 0:
            raw.seek(position + found)
            return position + found, raw.read(_HEADER_BYTES)
        if len(block) < len(_CAPTURE):
            return None
        position += len(block) - len(_CAPTURE) + 1
