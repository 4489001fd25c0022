"""Float samples at the scale of integers are recognised from the first block on; honest ones are left alone."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_aac.audio.formats.float_scale import FloatScale, Magnitudes, refuse_no_numbers
from edge_aac.errors import DataError

_RATE = 1_000


def _noise(level: float, seed: int = 0, count: int = 3_000, channels: int = 2) -> np.ndarray:
    return (level * np.random.default_rng(seed).uniform(-1, 1, (count, channels))).astype(np.float32)


def _through(frames: np.ndarray, chunk: int = 777, *, seekable: bool = False) -> np.ndarray:
    scale = FloatScale("a.wav", _RATE, (lambda: Magnitudes.of([frames])) if seekable else None)
    pieces = [scale.accept(frames[start : start + chunk]) for start in range(0, len(frames), chunk)]
    rest = scale.flush()
    given = np.concatenate([*pieces, *([] if rest is None else [rest])])
    assert given.shape == frames.shape and given.dtype == np.float32
    return given


@pytest.mark.parametrize("seekable", [False, True])
@pytest.mark.parametrize("whole_numbers", [False, True])
@pytest.mark.parametrize(("bits", "full_scale"), [(16, 2.0**15), (24, 2.0**23), (32, 2.0**31)])
@pytest.mark.parametrize("level", [0.02, 0.3, 1.0])
def test_integers_scales(
    bits: int, full_scale: float, level: float, whole_numbers: bool, seekable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    frames = _noise(level * full_scale)
    frames = np.rint(frames) if whole_numbers else frames + np.float32(0.25)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(_through(frames, seekable=seekable), frames / np.float32(full_scale))
    (record,) = caplog.records
    assert f"a.wav: its float samples are at the scale of {bits}-bit integers" in record.getMessage()


@pytest.mark.parametrize("level_db", [-100.0, -60.0, -3.0, 0.5, 6.0, 12.0, 20.0])
@pytest.mark.parametrize("seekable", [False, True])
def test_honest_floats_are_left_alone(level_db: float, seekable: bool, caplog: pytest.LogCaptureFixture) -> None:
    frames = _noise(10 ** (level_db / 20))
    assert np.array_equal(_through(frames, seekable=seekable), frames)
    assert caplog.records == []


@pytest.mark.parametrize("seekable", [False, True])
def test_squares_and_silence_are_left_alone(seekable: bool) -> None:
    for frames in (np.zeros((3_000, 1)), np.sign(_noise(1.0)), np.rint(_noise(1.0)), np.full((3_000, 1), 0.5)):
        assert np.array_equal(_through(frames.astype(np.float32), seekable=seekable), frames)


@pytest.mark.parametrize("leading", [0, 1_500])
@pytest.mark.parametrize("seekable", [False, True])
def test_a_quiet_beginning_at_16_bits(leading: int, seekable: bool) -> None:
    frames = np.rint(_noise(20_000.0, count=5_000))
    frames[:leading] = 0
    frames[leading : leading + 1_500] = np.rint(_noise(3.0, count=1_500))
    assert np.array_equal(_through(frames, seekable=seekable), frames / 32_768)


@pytest.mark.parametrize("quiet", [1.4, 5.0, 300.0])
def test_a_quiet_beginning_of_a_file_is_judged_by_all_of_it(quiet: float) -> None:
    frames = _noise(6e6, count=5_000)
    frames[:1_500] = np.rint(_noise(quiet, count=1_500))
    assert np.array_equal(_through(frames, seekable=True), frames / np.float32(2**23))


def test_a_pipe_that_turns_out_to_be_louder_is_refused() -> None:
    frames = np.rint(_noise(6e6, count=5_000))
    frames[:1_500] = np.rint(_noise(300.0, count=1_500))
    with pytest.raises(DataError, match=r"'a.wav' .* times full scale, the first at 1\.50\d s"):
        _through(frames)


@pytest.mark.parametrize("value", [33.0, 1e5 + 0.5, 1e10, -1e36])
@pytest.mark.parametrize("place", [100, 2_500])
@pytest.mark.parametrize("seekable", [False, True])
def test_broken_samples_in_an_honest_file(value: float, place: int, seekable: bool) -> None:
    frames = _noise(0.5)
    frames[place, 1] = value
    with pytest.raises(DataError, match=rf"full scale, the first at {place / _RATE:.3f} s"):
        _through(frames, seekable=seekable)


@pytest.mark.parametrize("value", [1e10, -1e20, 1e36])
def test_no_scale_fits(value: float) -> None:
    frames = np.zeros((3_000, 1), np.float32)
    frames[700:] = value
    with pytest.raises(DataError, match="0.700 s"):
        _through(frames)


@given(
    cuts=st.lists(st.integers(0, 3_000), max_size=10),
    leading=st.integers(0, 2_500),
    level=st.sampled_from([0.1, 3.0, 30.0, 1e4, 1e6]),
    whole_numbers=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_cuts_make_no_difference(cuts: list[int], leading: int, level: float, whole_numbers: bool) -> None:
    frames = _noise(level)
    frames = np.rint(frames) if whole_numbers else frames
    frames[:leading] = 0
    outcomes = []
    for edges in ([0, 3_000], [0, *sorted(cuts), 3_000]):
        scale = FloatScale("a.wav", _RATE)
        pieces: list[np.ndarray] = []
        try:
            pieces += [scale.accept(frames[start:end]) for start, end in zip(edges, edges[1:], strict=False)]
            rest = scale.flush()
            pieces += [] if rest is None else [rest]
            outcomes.append(np.concatenate(pieces).tobytes())
        except DataError as error:
            outcomes.append(str(error).encode())
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_numbers(value: float) -> None:
    frames = _noise(0.5)
    frames[1_250, 1] = value
    with pytest.raises(DataError, match=r"no numbers .* 1\.250 s"):
        _through(frames, 100)
    with pytest.raises(DataError, match=r"no numbers .* 11\.250 s"):
        refuse_no_numbers(frames, 10_000, _RATE, "a.wav")


def test_a_recording_of_nothing() -> None:
    scale = FloatScale("a.wav", _RATE)
    assert scale.accept(np.zeros((0, 2), np.float32)).shape == (0, 2)
    assert scale.flush() is None


def test_what_is_read_twice_is_read_twice_only_in_doubt() -> None:
    def refuse() -> Magnitudes:
        raise AssertionError("there is no doubt")

    FloatScale("a.wav", _RATE, refuse).accept(_noise(1.5))
