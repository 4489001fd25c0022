"""Files whose header is wrong about their length, and files that are really cut short."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tests.edge_aac.audio.inputs.cases import (
    ALL_HEARD,
    HEARD_OR_REFUSED,
    HEARD_WITH_A_WARNING,
    ONLY_REFUSED,
    Input,
)
from tests.edge_aac.audio.inputs.headers import CONTAINERS, Container, Role, flac_saying
from tests.edge_aac.audio.inputs.sounds import Layout, good_file, reference
from tests.edge_aac.audio.inputs.tags import garbage, tags_for

FRAMES = 160_000
# A pipe of these is to be heard.
STREAMED = ("WAV", "WAVEX", "RIFX", "W64", "AIFF", "AIFC", "AU", "FLAC", "MP3")
_STALE_FRAMES = 32_000
# What recorders and converters write where they do not know: all ones, the highest signed number, ffmpeg's and sox's
# numbers, and those minus or plus a header.
UNKNOWN_LENGTHS = (
    *(0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000, 0x8000_0000, 0xFFFF_FFFF - 36, 0x7FFF_FFFF - 36, 0x8000_0024),
    *(0xFFFF_F000, 0xFFFF_FFFE, 0x7FFF_FFFE, 2**63 - 1, 2**63, 2**64 - 1, 2**62),
)
_LOWEST_UNKNOWN_LONG = 2**62
_ROLES: tuple[tuple[Role, ...], ...] = (("outer", "inner", "count"), ("inner",), ("inner", "count"))
# Bytes that a header may promise too many, though nothing is missing.
_FEW_FRAMES = 700  # 90 ms at the lowest rate of the containers
FEW_BYTES = (1, 2, 3, 7, 8, 12, 36, 44, 46, 63, 64)


def containers(*, plain: bool) -> list[Container]:
    """The containers that users expect to be heard, whatever their headers say, or the rare ones."""
    return [container for container in CONTAINERS if container.plain == plain]


def lying(container: Container, *, few: bool = False) -> Iterator[Input]:
    """Complete files of ten seconds whose header says something else, in all ways or a few."""
    content = good_file(container.layout, FRAMES)
    good = Input("good", container.name, "good", content, reference(content), unstreamable=not streams(container))
    yield good
    size = FRAMES * container.frame_bytes
    warned = HEARD_WITH_A_WARNING if container.plain else HEARD_OR_REFUSED
    # An unknown length is no fault of a stream.
    unknown = ALL_HEARD if container.plain else HEARD_OR_REFUSED
    for roles in _ROLES[: 1 if few else 3]:
        some = "all" if len(roles) == 3 else "+".join(roles)
        lie = replace(good, kind="zero", name=f"zero in {some}", wanted=unknown)
        yield replace(lie, content=container.saying(content, 0, roles))
        stale = container.claiming(content, _STALE_FRAMES * container.frame_bytes, roles)
        yield replace(good, kind="stale", name=f"2 of 10 s in {some}", content=stale, wanted=warned)
        for value in UNKNOWN_LENGTHS[:: 5 if few else 1]:
            said = container.saying(content, value, roles)
            # Nobody writes the 32-bit numbers where there are 64 bits; a file may well have lost so much.
            possible = container.is_long and value < _LOWEST_UNKNOWN_LONG
            wanted = HEARD_OR_REFUSED if possible else unknown
            yield replace(good, kind="unknown", name=f"{value:#x} in {some}", content=said, wanted=wanted)
    for more in (*FEW_BYTES[:: 4 if few else 1], _FEW_FRAMES * container.frame_bytes):
        if more >= min((field.unit for field in container.fields(content)), default=1):
            said = container.claiming(content, size + more)
            yield replace(good, kind="too many", name=f"{more} bytes too many", content=said, wanted=warned)
    if container.has_outer:
        said = container.claiming(content, 2 * size, ("inner",))
        yield replace(good, kind="double", name="twice as many in the inner length", content=said, wanted=warned)


def stale_with_tags(container: Container) -> Iterator[Input]:
    """Stale headers, and zero ones, with a tag behind the sound."""
    content = good_file(container.layout, FRAMES)
    wanted = ALL_HEARD if container.plain else HEARD_OR_REFUSED
    for length in (0, _STALE_FRAMES * container.frame_bytes):
        stale = container.claiming(content, length)
        for name, tag in tags_for(container.name).items():
            what = Input("stale, tagged", container.name, f"{length} bytes, {name}", stale + tag, reference(content))
            yield replace(what, wanted=wanted, unstreamable=not streams(container))


def cut(container: Container) -> Iterator[Input]:
    """Files that lack their end, with a header that promises it."""
    content = good_file(container.layout, FRAMES)
    frame_s = container.layout.rate * container.frame_bytes
    for missing_s in (1.5, 3.0, 8.0):
        # SDS has 7 bits in a byte, and a header for each packet.
        present = content[: len(content) - round(missing_s * frame_s)]
        sound = reference(content)
        yield Input("cut", container.name, f"{missing_s} s missing", present, sound, ONLY_REFUSED)
    yield Input(
        "cut",
        container.name,
        "only a header",
        content[: len(content) - FRAMES * container.frame_bytes],
        np.ones(1, np.float32),
        ONLY_REFUSED,
    )


def flacs() -> Iterator[Input]:
    """FLAC files that promise another number of samples than they hold."""
    for subtype, channels in (("PCM_16", 1), ("PCM_24", 2)):
        content = good_file(Layout("FLAC", subtype, channels=channels), FRAMES)
        name = f"FLAC-{subtype}-{channels}"
        good = Input("good", name, "good", content, reference(content))
        yield good
        yield replace(good, kind="unknown", name="zero", content=flac_saying(content, 0))
        for total in (1, 4_095, 4_096, 4_097, _STALE_FRAMES, FRAMES - 1, FRAMES - 4_097):
            said = flac_saying(content, total)
            yield replace(good, kind="stale", name=f"{total} samples", content=said, wanted=HEARD_WITH_A_WARNING)
        for more in (1, 44, 1_500):
            said = flac_saying(content, FRAMES + more)
            yield replace(good, kind="too many", name=f"{more} more", content=said, wanted=HEARD_WITH_A_WARNING)
        for length, kind in ((0.3, "cut"), (0.7, "cut")):
            part = content[: int(length * len(content))]
            yield replace(good, kind=kind, name=f"{length} of it", content=part, wanted=ONLY_REFUSED)
        said = flac_saying(content, 3 * FRAMES)
        yield replace(good, kind="cut", name="promises three times as much", content=said, wanted=ONLY_REFUSED)
        for noise_name, noise in garbage().items():
            yield replace(good, kind="garbage", name=noise_name, content=content + noise)
        for tag_name, tag in tags_for("FLAC").items():
            yield replace(good, kind="tags", name=tag_name, content=content + tag)
            stale = flac_saying(content, _STALE_FRAMES) + tag
            yield replace(good, kind="stale, tagged", name=tag_name, content=stale)


def streams(container: Container) -> bool:
    """Whether a pipe of this container is to be heard; one of another may be refused by name."""
    return container.name.partition("-")[0] in STREAMED
