"""Good files of every layout, good files with other things around their sound, and files joined to one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tests.edge_aac.audio.inputs.cases import ALL_HEARD, HEARD_OR_REFUSED, Input
from tests.edge_aac.audio.inputs.headers import UNSIZED, Container
from tests.edge_aac.audio.inputs.hearing import WRONG
from tests.edge_aac.audio.inputs.lies import FRAMES, STREAMED, streams
from tests.edge_aac.audio.inputs.sounds import (
    HEADERLESS,
    LOSSLESS,
    RATE,
    Layout,
    good_file,
    layouts,
    reference,
    writable,
)
from tests.edge_aac.audio.inputs.tags import TAGS, chunk, chunks, garbage, info_list, tags_for

_ODD_FRAMES = 16_001
# Through a pipe, and joined, what the encoder adds at either end of an MP3 is heard too.
_MP3_SAMPLES = 4_000
_JOINED = (
    *(Layout("WAV"), Layout("FLAC"), Layout("AU"), Layout("AIFF"), Layout("W64"), Layout("CAF"), Layout("RF64")),
    *(Layout("WAVEX"), Layout("OGG", "VORBIS"), Layout("MP3", "MPEG_LAYER_III"), Layout("WAV", "FLOAT")),
    *(Layout("WAV", "ULAW"), Layout("AIFF", "PCM_24", channels=3), Layout("FLAC", "PCM_24", channels=3)),
)
_CHUNKED = {"WAV": "<", "WAV-8": "<", "WAVEX": "<", "RIFX": ">", "RF64": "<", "AIFF": ">", "AIFC-sowt": ">", "SVX": ">"}


def every_layout(container: str) -> Iterator[Input]:
    """Good files of one container, in every layout that the library can write, with an odd number of frames."""
    for layout in layouts():
        if layout.container == container and writable(layout, _ODD_FRAMES):
            content = good_file(layout, _ODD_FRAMES)
            exact = layout.subtype in LOSSLESS and layout.rate == RATE
            yield Input(
                "every format",
                container,
                str(layout),
                content,
                reference(content),
                exact=exact,
                # A block of ADPCM or MP3 may be given whole; the pad byte of 8-bit AIFF is one sample in the library.
                tolerance=1 if exact else _MP3_SAMPLES if container == "MP3" else 1_000,
                unstreamable=container not in STREAMED or not (exact or container in ("FLAC", "MP3")),
            )


def written_containers() -> list[str]:
    """The containers that the library writes, without those that have no header."""
    return sorted({layout.container for layout in layouts()} - set(HEADERLESS))


def unwritable() -> list[str]:
    """Layouts that the library lists for one channel, but cannot write or read."""
    return [str(layout) for layout in layouts() if layout.channels == 1 and not writable(layout, _ODD_FRAMES)]


def with_trailers(container: Container) -> Iterator[Input]:
    """Good files with tags and garbage behind them, or with a tag before them."""
    content = good_file(container.layout, FRAMES // 2)
    wanted = ALL_HEARD if container.plain else HEARD_OR_REFUSED
    good = Input("tags", container.name, "", content, reference(content), wanted, unstreamable=not streams(container))
    for name, tag in tags_for(container.name).items():
        yield replace(good, name=f"{name} behind", content=content + tag)
        yield replace(good, name=f"pad and {name} behind", content=content + b"\0" + tag)
    for name, bytes_behind in garbage().items():
        # One byte of noise is like another, where a sample has no more.
        alike = container.frame_bytes == 1 and name.startswith("random")
        yield replace(good, kind="garbage", name=name, content=content + bytes_behind, more_with_a_warning=alike)
    yield replace(good, name="ID3v2 before", content=TAGS["ID3v2"] + content)


def with_chunks(container: Container) -> Iterator[Input]:
    """Good files with chunks before and behind their sound, within the outer length and beyond it."""
    order = _CHUNKED.get(container.name)
    if order is None:
        return
    content = good_file(container.layout, FRAMES // 2)
    wanted = ALL_HEARD if container.plain else HEARD_OR_REFUSED
    good = Input("chunks", container.name, "", content, reference(content), wanted, unstreamable=not streams(container))
    outer = next(field for field in container.fields(content) if field.role == "outer")
    inner = next((field for field in container.fields(content) if field.role == "inner"), outer)
    sound_chunk = inner.at - 4 if container.name != "RF64" else content.index(b"data")
    for name, extra in chunks(order).items():
        for beyond in (False, True):
            behind = bytearray(content + extra)
            outer.put(behind, outer.get(content) + (0 if beyond else len(extra)))
            where = "behind, beyond the outer length" if beyond else "behind"
            yield replace(good, name=f"{name} {where}", content=bytes(behind))
        if not name.endswith("not padded"):
            before = bytearray(content[:sound_chunk] + extra + content[sound_chunk:])
            outer.put(before, outer.get(content) + len(extra))
            yield replace(good, name=f"{name} before", content=bytes(before))


def odd_sounds() -> Iterator[Input]:
    """WAV and AIFF with an odd number of bytes of sound and chunks behind, with the pad byte and without it."""
    for layout, order, name in ((Layout("WAV", "PCM_U8"), "<", b"data"), (Layout("AIFF", "PCM_U8"), ">", b"SSND")):
        content = good_file(layout, FRAMES // 2)
        at = content.index(name)
        body = content[at + 8 : at + 8 + (FRAMES // 2) + (8 if order == ">" else 0) - 1]
        sound = reference(content)[:-1]
        frames = (FRAMES // 2 - 1).to_bytes(4, "big")
        comm = content.find(b"COMM")
        head = content[:at] if comm < 0 else content[: comm + 10] + frames + content[comm + 14 : at]
        for padded in (True, False):
            for tail in (b"", info_list(order), chunk(b"odd ", b"xyz", order) + info_list(order)):
                whole = head + chunk(name, body, order, padded=padded) + tail
                size = (len(whole) - 8).to_bytes(4, "little" if order == "<" else "big")
                whole = whole[:4] + size + whole[8:]
                what = f"{len(tail)} bytes behind, {'padded' if padded else 'not padded'}"
                yield Input("odd sound", layout.container, what, whole, sound, tolerance=1)


def unsized_with_trailers() -> Iterator[Input]:
    """Containers without any length: what stands behind the sound may be heard, but the sound must be."""
    for name in UNSIZED:
        if any(layout.container == name for layout in layouts()):
            subtype = "DPCM_16" if name == "XI" else "PCM_16"
            content = good_file(Layout(name, subtype), FRAMES // 2)
            for tail in ("ID3v1", "APEv2"):
                yield Input(
                    "unsized",
                    name,
                    tail,
                    content + TAGS[tail],
                    reference(content),
                    HEARD_OR_REFUSED,
                    exact=False,
                    tolerance=400,
                    unstreamable=True,
                )


def joined() -> Iterator[Input]:
    """Two files written one after the other, as `cat` joins them: all is heard, or one sentence says it was not."""
    for layout in _JOINED:
        if not writable(layout, FRAMES // 4):
            continue
        first, second = good_file(layout, FRAMES // 4), good_file(layout, FRAMES // 2, 1)
        both = np.concatenate([reference(first), reference(second)])
        # A header that is heard as sound is a click of some milliseconds; what its encoder added delays a second MP3.
        yield Input(
            "joined",
            layout.container,
            str(layout),
            first + second,
            both,
            HEARD_OR_REFUSED | ({WRONG} if layout.container == "MP3" else set()),
            exact=False,
            tolerance=_MP3_SAMPLES if layout.container == "MP3" else 1_500,
        )
