"""Any header, any cut and any damage: no traceback, no end that says nothing, no memory or time without a bound."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_aac.audio.sources.file import load_waveform
from tests.edge_aac.audio.inputs.built import FORMS, Numbers, build, true_numbers
from tests.edge_aac.audio.inputs.children import hear_each
from tests.edge_aac.audio.inputs.headers import CONTAINERS
from tests.edge_aac.audio.inputs.hearing import (
    ENDLESS,
    HEARD,
    REFUSED,
    SENTENCE,
    TRACEBACK,
    WARNED,
    WAYS,
    Outcome,
    verdict,
)
from tests.edge_aac.audio.inputs.lies import UNKNOWN_LENGTHS
from tests.edge_aac.audio.inputs.sounds import Layout, good_file, reference, sound

pytestmark = pytest.mark.one_python

EXAMPLES = int(os.environ.get("EDGE_AAC_INPUT_EXAMPLES", "80"))
_FRAMES = 8_000
# What lasts less may be a tag that nobody knows.
_TENTH_OF_A_SECOND = 1_600
_MAX_GROWTH_KB = 200_000

_some = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="EDGE_AAC_INPUT_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
_lengths = st.one_of(
    st.integers(0, 2**64),
    st.integers(0, 2**32),
    st.integers(0, 4 * _FRAMES),
    st.sampled_from(UNKNOWN_LENGTHS),
    st.integers(-70, 70).map(lambda more: 2 * _FRAMES + more),
    st.integers(-5, 5).map(lambda more: _FRAMES + more),
)
_layouts = [
    *(container.layout for container in CONTAINERS),
    *(Layout("FLAC"), Layout("FLAC", "PCM_24", channels=3), Layout("MP3", "MPEG_LAYER_III"), Layout("OGG", "VORBIS")),
    *(Layout("OGG", "OPUS"), Layout("CAF", "ALAC_16"), Layout("WAV", "IMA_ADPCM"), Layout("WAV", "MS_ADPCM")),
    *(Layout("WAV", "GSM610"), Layout("PAF"), Layout("PVF"), Layout("IRCAM"), Layout("XI", "DPCM_16")),
]


def _hear(content: bytes, way: str) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return next(hear_each([content], way, Path(folder)))


def _check_bounds(outcome: Outcome, found: str, content: bytes) -> None:
    assert found not in (TRACEBACK, ENDLESS, SENTENCE), f"{found}: {outcome}\n{outcome.trace}\n{content[:160].hex()}"
    assert outcome.memory_kb < _MAX_GROWTH_KB, f"{outcome.memory_kb} kB for {len(content)} bytes: {outcome}"


@given(
    form=st.sampled_from(FORMS),
    outer=_lengths,
    inner=_lengths,
    count=_lengths,
    before=st.lists(st.binary(max_size=40), max_size=3),
    formats=st.sampled_from((1, 1, 1, 2, 0)),
    way=st.sampled_from(WAYS),
)
@_some
def test_any_length(  # noqa: PLR0917
    form: str, outer: int, inner: int, count: int, before: list[bytes], formats: int, way: str
) -> None:
    content = build(form, _FRAMES, Numbers(outer, inner, count), tuple(before), formats)
    outcome = _hear(content, way)
    expected = sound(_FRAMES).astype(np.float32)
    # A format that comes behind the sound is as long as a header at most.
    tolerance = _TENTH_OF_A_SECOND
    found = verdict(outcome, expected, exact=True, tolerance=tolerance)
    _check_bounds(outcome, found, content)
    assert found in (HEARD, WARNED, REFUSED), f"{form} {way} {outer:#x} {inner:#x} {count:#x} {formats}: {outcome}"


@given(
    form=st.sampled_from(FORMS),
    lengths=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    channels=st.sampled_from((0, 1, 2, 3, 255, 1_024, 65_535)),
    rate=st.sampled_from((0, 1, 999, 1_000, 16_000, 192_000, 1_000_000, 1_000_001, 2**31, 2**32 - 1)),
    block=st.sampled_from((0, 1, 2, 3, 4, 65_535)),
    bits=st.sampled_from((0, 1, 8, 12, 16, 17, 24, 32, 64, 65_535)),
    way=st.sampled_from(WAYS),
)
@_some
def test_any_sample_format(  # noqa: PLR0917
    form: str, lengths: tuple[bool, bool, bool], channels: int, rate: int, block: int, bits: int, way: str
) -> None:
    true = true_numbers(form, _FRAMES)
    outer, inner, count = (
        right if keep else 0xFFFF_FFFF
        for keep, right in zip(lengths, (true.outer, true.inner, true.count), strict=True)
    )
    content = build(form, _FRAMES, Numbers(outer, inner, count, channels, rate, block, bits))
    outcome = _hear(content, way)
    found = verdict(outcome, sound(_FRAMES).astype(np.float32), exact=True)
    _check_bounds(outcome, found, content)


@given(layout=st.sampled_from(_layouts), part=st.floats(0, 1), less=st.integers(0, 200), way=st.sampled_from(WAYS))
@_some
def test_cut_at_any_byte(layout: Layout, part: float, less: int, way: str) -> None:
    whole = good_file(layout, 3 * _FRAMES)
    content = whole[: max(0, round(part * len(whole)) - less)]
    outcome = _hear(content, way)
    expected = reference(whole)
    lossy = layout.subtype not in ("PCM_16", "PCM_S8", "PCM_U8", "PCM_24", "FLOAT", "ULAW", "ALAW")
    found = verdict(outcome, expected, exact=False, tolerance=4 * _TENTH_OF_A_SECOND if lossy else _TENTH_OF_A_SECOND)
    _check_bounds(outcome, found, content)
    # Without a length nobody can tell; Ogg without its last page may be a live stream's, and is heard with a warning.
    if layout.container not in ("PAF", "PVF", "IRCAM", "XI"):
        unmarked = layout.container == "OGG" and bool(outcome.warnings)
        assert found in (HEARD, WARNED, REFUSED) or unmarked, f"{layout} {way} {len(content)}: {found}, {outcome}"


@given(
    layout=st.sampled_from(_layouts),
    changes=st.lists(st.tuples(st.one_of(st.integers(0, 120), st.integers(0, 2**20)), st.integers(0, 255)), max_size=3),
    way=st.sampled_from(WAYS),
)
@_some
def test_any_byte_changed(layout: Layout, changes: list[tuple[int, int]], way: str) -> None:
    content = bytearray(good_file(layout, _FRAMES))
    for position, value in changes:
        content[position % len(content)] = value
    outcome = _hear(bytes(content), way)
    found = verdict(outcome, reference(good_file(layout, _FRAMES)), exact=False)
    _check_bounds(outcome, found, bytes(content))


@pytest.mark.parametrize("form", FORMS)
def test_what_is_built_is_right(tmp_path: Path, form: str) -> None:
    """The files of these tests are good ones where their numbers are true."""
    path = tmp_path / "built"
    path.write_bytes(build(form, _FRAMES, true_numbers(form, _FRAMES), (b"odd", b"even")))
    assert np.array_equal(load_waveform(path), sound(_FRAMES).astype(np.float32))
