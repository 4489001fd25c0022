"""The hop of a live source: longer in quiet, under load and in heat, never beyond its limits, and back at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge_aac.audio.windows import Window, WindowSlicer
from edge_aac.board.temperature import Heat, Zone
from edge_aac.errors import ConfigError
from edge_aac.streaming.adaptation import Adaptation
from edge_aac.streaming.channel_settings import ChannelSettings
from edge_aac.streaming.gate import EnergyGate
from edge_aac.streaming.heat import READ_EVERY_S, HeatLimits, HeatWatch
from edge_aac.streaming.hop import AdaptiveHop, HopLimits
from edge_aac.streaming.hub import Hub
from edge_aac.streaming.session import Session
from tests.edge_aac.fakes import FakeModel, FakeSource, SharingModel
from tests.edge_aac.streaming.session_cases import noise

SECOND = 16_000


def hop_of(own_s: float = 2.0, limits: HopLimits | None = None) -> tuple[AdaptiveHop, WindowSlicer]:
    """The hop of a source whose windows are 10 s long."""
    slicer = WindowSlicer(10 * SECOND, round(own_s * SECOND))
    return AdaptiveHop("mic0", slicer, limits or HopLimits(10.0, 4.0)), slicer


def test_quiet_lets_it_grow_and_any_change_ends_that() -> None:
    hop, slicer = hop_of()
    seen = []
    for _ in range(9):
        hop.note_window(changed=False)
        seen.append(hop.hop_s)
    assert seen == [2.0, 2.0, 3.0, 3.0, 3.0, 4.0, 4.0, 4.0, 4.0]
    assert slicer.hop_samples == 4 * SECOND
    hop.note_window(changed=True)
    assert hop.hop_s == 2.0


def test_sound_between_two_windows_ends_quiet_too() -> None:
    hop, slicer = hop_of()
    (window,) = slicer.push(0, np.zeros(10 * SECOND, np.float32))
    for _ in range(6):
        hop.note_window(changed=False)
    assert (window.start, slicer.next_end) == (0, 14 * SECOND)
    slicer.push(10 * SECOND, np.zeros(SECOND, np.float32))
    hop.note_fresh_sound(-70.0)
    assert hop.hop_s == 4.0
    slicer.push(11 * SECOND, noise(SECOND))
    hop.note_fresh_sound(-70.0)
    assert (hop.hop_s, slicer.next_end) == (2.0, 12 * SECOND)
    assert slicer.push(12 * SECOND, np.zeros(160, np.float32))[0].start == 2 * SECOND


def test_one_slow_round_changes_nothing_two_do_and_one_fast_round_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    hop, _ = hop_of()
    seen = []
    with caplog.at_level(logging.INFO):
        for round_s in (5.0, 0.1, 5.0, 6.0, 50.0, 50.0, 0.1):
            hop.note_round(round_s)
            seen.append((hop.hop_s, hop.overloaded))
    assert seen == [
        (2.0, False),
        (2.0, False),
        (2.0, False),
        (5.5, True),
        (pytest.approx(6.6), True),
        (10.0, True),
        (2.0, False),
    ]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_longer_hops_are_multiples_of_what_the_model_prefers() -> None:
    hop, slicer = hop_of(limits=HopLimits(7.2, 4.0))
    hop.prefer_multiples_of(SECOND // 2)
    assert hop.hop_s == 2.0
    seen = []
    for round_s in (5.1, 5.1, 5.0, 6.4, 6.4, 50.0, 50.0, 0.1):
        hop.note_round(round_s)
        seen.append(hop.hop_s)
    # 1.1 times the round, up to the next half second, and below the limit of 7.2 s.
    assert seen == [2.0, 6.0, 5.5, 5.5, 7.0, 7.0, 7.0, 2.0]
    assert slicer.hop_samples == 2 * SECOND
    hop.note_heat(0.3)
    assert hop.hop_s == 4.0  # 3.56


def test_a_sources_own_hop_stays_whatever_the_model_prefers() -> None:
    hop, slicer = hop_of(0.7, HopLimits(0.9, 0.9))
    hop.prefer_multiples_of(SECOND // 2)
    assert slicer.hop_samples == round(0.7 * SECOND)
    for _ in range(6):
        hop.note_window(changed=False)
    # No multiple of half a second lies between 0.7 and 0.9: the limit is the hop, as without a preference.
    assert hop.hop_s == 0.9


def test_a_model_that_hears_sound_gets_it_from_when_it_is_in_use() -> None:
    """One that was put in another's place got windows without their sound for as long as the stream went on."""
    slicer = WindowSlicer(4_800, 1_600)
    adaptation = Adaptation("mic0", slicer, ChannelSettings(EnergyGate(-70.0), seed=0), live=True)
    sound = np.arange(16_000, dtype=np.float32)
    hears: Any = FakeModel()
    adaptation.fit(hears)
    before = slicer.push(0, sound[:6_000])
    hears.hears_sound = True
    adaptation.fit(hears)
    after = slicer.push(6_000, sound[6_000:])
    adaptation.fit(hears)
    assert [window.waveform for window in before] == [None]
    assert [window.waveform is not None for window in after] == [window.start >= 6_000 for window in after]
    assert any(window.start < 6_000 for window in after)
    for window in after:
        if window.waveform is not None:
            assert np.array_equal(window.waveform, sound[window.start : window.start + window.samples])
    (again,) = slicer.push(50_000, sound[:4_800])
    assert again.waveform is not None and np.array_equal(again.waveform, sound[:4_800])


def test_the_hops_of_a_stream_fit_the_model_that_is_in_use() -> None:
    source = FakeSource([noise(SECOND)], live=True, endless=True)
    made = Session(model=FakeModel(), hub=Hub([]), node="kitchen", stop=threading.Event())
    limits = HopLimits(10.0, 10.0)
    channel = made.add(source, WindowSlicer(), ChannelSettings(EnergyGate(-70.0), hop_limits=limits))

    def quiet() -> float:
        """The hop after three windows of quiet, from 2.2 s on."""
        made.reconfigure(channel, round(2.2 * SECOND), ChannelSettings(EnergyGate(-70.0), hop_limits=limits))
        made.reconfigure(channel, round(2.1 * SECOND), ChannelSettings(EnergyGate(-70.0), hop_limits=limits))
        for _ in range(3):
            channel.adaptation.note_window(None)
        return channel.hop_s

    assert quiet() == 3.15
    made.use(SharingModel())
    assert channel.hop_s == 3.5, "of the hop that is in force, too"
    assert quiet() == 3.5
    made.use(FakeModel())
    assert quiet() == 3.15
    made.close()


def test_a_source_whose_own_hop_is_beyond_the_limits_keeps_it() -> None:
    hop, _ = hop_of(20.0)
    for _ in range(9):
        hop.note_window(changed=False)
    hop.note_heat(1.0)
    hop.note_round(15.0)
    hop.note_round(15.0)
    assert hop.hop_s == 20.0


def test_heat_stretches_it_in_proportion() -> None:
    hop, slicer = hop_of()
    hop.note_heat(0.5)
    assert hop.hop_s == 6.0
    hop.note_heat(0.333)
    assert slicer.hop_samples % 160 == 0
    hop.note_heat(0.0)
    assert hop.hop_s == 2.0


@pytest.mark.parametrize("own_s", [0.1, 0.5, 2.0, 7.3, 10.0])
def test_it_is_never_outside_its_limits(own_s: float) -> None:
    """Whatever happens in whatever order; the windows stay on the grid of frames, in order."""
    random = np.random.default_rng(round(10 * own_s))
    hop, slicer = hop_of(own_s, HopLimits(8.0, 3.0))
    acts: list[Callable[[], None]] = [
        lambda: hop.note_window(changed=False),
        lambda: hop.note_window(changed=bool(random.integers(2))),
        lambda: hop.note_round(float(random.exponential(4.0))),
        lambda: hop.note_heat(float(random.random())),
        lambda: hop.note_fresh_sound(-30.0),
    ]
    position, windows = 0, list[Window]()
    for _ in range(60):
        samples = int(random.integers(1, 3 * SECOND))
        windows += slicer.push(position, noise(samples))
        position += samples
        acts[int(random.integers(len(acts)))]()
        assert own_s - 1e-9 <= hop.hop_s <= max(own_s, 8.0) + 1e-9
        assert slicer.next_end > position - 160
    starts = [window.start for window in windows]
    assert starts == sorted(set(starts)) and all(start % 160 == 0 for start in starts)


def test_windows_are_the_file_s_own_wherever_they_start() -> None:
    """A window that begins where a changed hop puts it is the one that a file's slicer gives for that place."""
    sound = noise(40 * SECOND, 5)
    slicer = WindowSlicer(10 * SECOND, 2 * SECOND)
    windows = slicer.push(0, sound[: 17 * SECOND])
    slicer.change_hop(round(3.51 * SECOND))
    windows += slicer.push(17 * SECOND, sound[17 * SECOND : 30 * SECOND])
    slicer.change_hop(SECOND)
    windows += slicer.push(30 * SECOND, sound[30 * SECOND :])
    assert len({window.start % (2 * SECOND) for window in windows}) > 2
    for window in windows:
        (same,) = WindowSlicer(10 * SECOND, 20 * SECOND).push(0, sound[window.start : window.start + 10 * SECOND])
        assert np.array_equal(window.fbank, same.fbank)
        assert (window.rms_dbfs, window.audible_dbfs) == (same.rms_dbfs, same.audible_dbfs)


def test_a_shorter_hop_gives_no_window_of_the_past() -> None:
    slicer = WindowSlicer(10 * SECOND, 9 * SECOND)
    slicer.push(0, noise(18 * SECOND))
    slicer.change_hop(2 * SECOND)
    assert slicer.next_end == 18 * SECOND
    assert [window.start for window in slicer.push(18 * SECOND, noise(4 * SECOND))] == [
        8 * SECOND,
        10 * SECOND,
        12 * SECOND,
    ]


def test_a_hop_off_the_grid_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 10 ms"):
        WindowSlicer(10 * SECOND).change_hop(1_601)


class Board:
    """A board whose sensors say what a test wants."""

    def __init__(self, limits: HeatLimits | None = None, throttles_c: float | None = None) -> None:
        self.now_s, self.celsius, self.slowed = 0.0, 40.0, False
        self._throttles_c = throttles_c
        self.watch = HeatWatch(limits, self._read, lambda: self.now_s)

    def _read(self) -> Heat:
        signs = ("the kernel slows down cpufreq-cpu0 (step 3 of 7)",) if self.slowed else ()
        return Heat((Zone("cpu-thermal", self.celsius, self._throttles_c),), self.slowed, signs)

    def at(self, celsius: float, *, slowed: bool = False) -> float:
        """The share at the next reading."""
        self.now_s += READ_EVERY_S
        self.celsius, self.slowed = celsius, slowed
        self.watch.tick()
        return self.watch.share


def test_heat_counts_in_proportion_and_is_forgotten_late() -> None:
    board = Board(HeatLimits(60.0, 80.0))
    assert [board.at(celsius) for celsius in (50, 60, 70, 90)] == [0.0, 0.0, 0.5, 1.0]
    # Three degrees cooler than the share belongs to, before it falls.
    assert [board.at(celsius) for celsius in (78, 77, 70, 70, 58, 57)] == [1.0, 1.0, 0.65, 0.65, 0.05, 0.0]


@pytest.mark.parametrize(
    ("limits", "throttles_c", "decided"),
    [
        (HeatLimits(), None, (65.0, 80.0)),
        (HeatLimits(), 99.0, (81.0, 96.0)),
        (HeatLimits(hot_c=70.0), 99.0, (55.0, 70.0)),
        (HeatLimits(warm_c=50.0), 99.0, (50.0, 96.0)),
        (HeatLimits(warm_c=97.0), 99.0, (97.0, 100.0)),
        (HeatLimits(50.0, 60.0), 99.0, (50.0, 60.0)),
    ],
)
def test_limits_come_from_the_board_where_nobody_sets_them(
    limits: HeatLimits, throttles_c: float | None, decided: tuple[float, float]
) -> None:
    assert limits.decided(Heat((Zone("cpu-thermal", 40.0, throttles_c),))) == decided


def test_a_machine_that_slows_itself_down_is_given_less_step_by_step() -> None:
    board = Board()
    assert [board.at(50.0, slowed=True) for _ in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert board.watch.warnings == [
        "the board is hot (cpu-thermal 50 °C): windows come less often",
        "the kernel slows down cpufreq-cpu0 (step 3 of 7)",
    ]
    assert board.at(50.0) == 0.0


def test_heat_is_told_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    board = Board(HeatLimits(60.0, 80.0))
    with caplog.at_level(logging.INFO):
        for celsius in (50, 71, 75, 79, 90, 70, 50, 40):
            board.at(celsius)
    assert [record.message for record in caplog.records] == [
        "the board is hot (cpu-thermal 71 °C): windows come less often",
        "the board is cool again (50 °C): windows come as before",
    ]


def test_sensors_are_read_every_five_seconds() -> None:
    board, read = Board(HeatLimits(60.0, 80.0)), []
    watch = HeatWatch(HeatLimits(60.0, 80.0), lambda: read.append(board.now_s) or Heat(), lambda: board.now_s)
    for _ in range(100):
        watch.tick()
        board.now_s += 0.25
    assert read == [0.0, 5.0, 10.0, 15.0, 20.0]


def test_a_board_that_is_only_watched_is_given_no_less() -> None:
    watch = HeatWatch(HeatLimits(60.0, 80.0), lambda: Heat((Zone("cpu-thermal", 95.0),)), changes_hop=False)
    assert not watch.tick()
    assert (watch.share, watch.celsius, watch.warnings) == (0.0, 95.0, [])
