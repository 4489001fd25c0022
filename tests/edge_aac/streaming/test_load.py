"""A machine that is too slow, in simulated time: what is skipped is counted, and nothing waits for long."""

from __future__ import annotations

import os
import threading
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.simulated_time import SimulatedTime, SteppedSource, in_blocks, repeated
from edge_aac.audio.windows import Window, WindowSlicer
from edge_aac.errors import DataError
from edge_aac.models.contract import Description, not_cancelled
from edge_aac.records import Caption, Health
from edge_aac.streaming.channel import ChannelSettings
from edge_aac.streaming.counters import Counters
from edge_aac.streaming.gate import EnergyGate
from edge_aac.streaming.hop import HopLimits
from edge_aac.streaming.hub import Hub, Outlet
from edge_aac.streaming.session import Session
from tests.edge_aac.fakes import FakeModel, FakeSink, FakeSource, scored
from tests.edge_aac.streaming.session_cases import noise

HOP_S, WINDOW_S, BLOCK_S = 2.0, 10.0, 0.1
HOP, WINDOW, BLOCK = 32_000, 160_000, 1_600


pytestmark = pytest.mark.one_python


class SlowModel(FakeModel):
    """A model whose batches take simulated time.

    Args:
        time: passes while it works.
        takes_s: seconds that a batch of so many windows takes when it is begun at a time.
    """

    def __init__(self, time: SimulatedTime, takes_s: Callable[[float, int], float], **others: Any) -> None:
        super().__init__(**others)
        self._time = time
        self._takes_s = takes_s
        self.began: list[tuple[float, list[int]]] = []
        """When each batch was begun, and where its windows end, in samples."""

    def describe(
        self, windows: Sequence[Window], rngs: Sequence[np.random.Generator], cancelled: Any = not_cancelled
    ) -> list[Description | DataError]:
        self.began.append((self._time.now_s, [window.start + window.samples for window in windows]))
        self._time.pass_by(self._takes_s(self._time.now_s, len(windows)))
        return super().describe(windows, rngs, cancelled)


def simulated(  # noqa: PLR0913 - the parts of a session
    time: SimulatedTime,
    model: FakeModel,
    sources: Sequence[Any],
    *,
    limits: HopLimits | None = None,
    hop: int = HOP,
    window: int = WINDOW,
    health_interval_s: float = 0.0,
    max_batch: int = 16,
) -> tuple[Session, FakeSink]:
    """A session that has run to its end."""
    sink, stop = FakeSink(), threading.Event()
    made = Session(
        model=model,
        hub=Hub([Outlet("fake", sink, ("caption", "event", "health"), 100_000, stop)]),
        node="kitchen",
        stop=stop,
        health_interval_s=health_interval_s,
        clocks=time.clocks,
        max_batch=max_batch,
    )
    for source in sources:
        made.add(
            source,
            WindowSlicer(window, hop),
            ChannelSettings(EnergyGate(-70.0), every_window=True, hop_limits=limits),
        )
    made.run()
    return made, sink


def every_window_is_counted(counters: Counters) -> bool:
    """Whether the outcomes of a source that has ended add up to its windows."""
    outcomes = counters.described + counters.same + counters.silent + counters.failed + counters.skipped.total()
    return counters.windows == outcomes


def slow_for_a_minute(now_s: float, _windows: int) -> float:
    """Three hops a batch between the first and the second minute, else a tenth of one."""
    return 3 * HOP_S if 60.0 <= now_s < 120.0 else 0.1 * HOP_S


def steady(time: SimulatedTime, seconds: float, label: str = "mic0") -> SteppedSource:
    """A microphone that hears noise."""
    return SteppedSource(time, label, repeated([noise(BLOCK, seed) for seed in range(7)], round(seconds / BLOCK_S)))


def test_inference_at_three_hops_for_a_minute() -> None:
    """No caption waits for more than two hops, what is not described is counted as skipped, and it is over at once."""
    time = SimulatedTime()
    model = SlowModel(time, slow_for_a_minute)
    made, sink = simulated(time, model, [steady(time, 180.0)])
    counters = made.channels[0].counters
    assert counters.windows == (180 - 10) // 2 + 1
    # From 60 s to 120 s ten batches are begun; each leaves the two windows out that end while the one before runs.
    slow = [began_s for began_s, _ in model.began if 60.0 <= began_s < 120.0]
    assert len(slow) == 10
    assert counters.skipped == {"overlap": 2 * len(slow)}
    assert counters.described == len(sink.captions) == counters.windows - 20
    assert every_window_is_counted(counters)
    assert counters.lost_samples == 0
    for began_s, ends in model.began:
        assert len(ends) == 1
        assert began_s - ends[0] / 16_000 <= 2 * HOP_S
    for caption in sink.captions:
        took_ms = 1e3 * (3 * HOP_S if caption.latency_ms.total > 1e3 * 2 * HOP_S else 0.1 * HOP_S)
        assert caption.latency_ms.total <= 1e3 * 2 * HOP_S + took_ms
    # Every window that ends after the last slow batch is described, within its own hop.
    recovered = [(began_s, end) for began_s, ends in model.began for end in ends if began_s >= 126.0]
    assert [end // 16_000 for _, end in recovered] == list(range(126, 181, 2))
    assert all(began_s - end / 16_000 < HOP_S / 2 for began_s, end in recovered)


def test_memory_is_flat_while_the_machine_is_too_slow() -> None:
    """No more is held at the end of five slow minutes than at the end of the first: two windows a batch are skipped."""
    time = SimulatedTime()
    resident: list[int] = []

    def takes_s(_now_s: float, _windows: int) -> float:
        resident.append(
            int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")
        )
        return 3 * HOP_S

    simulated(time, SlowModel(time, takes_s), [steady(time, 300.0)])
    assert len(resident) > 45
    kept_bytes = 2 * 35 * 998 * 128 * 4
    assert max(resident[-5:]) - max(resident[5:15]) < kept_bytes // 10


@pytest.mark.parametrize("seconds", [9.0, 45.0])
def test_one_window_that_takes_long_is_followed_by_the_newest(seconds: float) -> None:
    """Also where the ring runs over meanwhile: what is lost is counted, and what waits is described."""
    time = SimulatedTime()
    model = SlowModel(time, lambda now_s, _: seconds if 30.0 <= now_s < 31.0 else 0.1)
    made, _ = simulated(time, model, [steady(time, 120.0)])
    counters = made.channels[0].counters
    assert every_window_is_counted(counters)
    after = next((began_s, ends) for began_s, ends in model.began if began_s > 31.0)
    assert after[0] - max(after[1]) / 16_000 <= HOP_S
    assert (counters.lost_samples > 0) == (seconds > 30.0)


def test_many_sources_wait_no_longer() -> None:
    """Twenty microphones, of which a batch takes sixteen, at a third of a hop a window: each has its turn."""
    time = SimulatedTime()
    hop_s, hop, window = 0.2, 3_200, 16_000
    model = SlowModel(time, lambda _, windows: windows * hop_s / 3)
    pieces = [noise(800, seed) for seed in range(7)]
    sources = [SteppedSource(time, f"mic{number}", repeated(pieces, 240)) for number in range(20)]
    made, sink = simulated(time, model, sources, hop=hop, window=window)
    for number, (began_s, ends) in enumerate(model.began):
        # What waits when all sources end at once has nothing newer after it.
        assert began_s >= 12.0 or all(began_s - end / 16_000 <= 2 * hop_s for end in ends)
        # Once it is known what windows cost, a batch is no longer than a hop.
        assert number < 3 or len(ends) <= 3
    described = [channel.counters.described for channel in made.channels]
    assert min(described) > 0 and max(described) <= 2 * min(described) + 2
    assert all(every_window_is_counted(channel.counters) for channel in made.channels)
    assert sum(described) == len(sink.captions)


def test_a_small_batch_is_shared_fairly() -> None:
    """Six microphones and a batch of two, which takes two thirds of a hop: each has every third turn."""
    time = SimulatedTime()
    hop, window = 3_200, 16_000
    model = SlowModel(time, lambda _now_s, _windows: 0.13)
    pieces = [noise(800, seed) for seed in range(7)]
    sources = [SteppedSource(time, f"mic{number}", repeated(pieces, 240)) for number in range(6)]
    made, _ = simulated(time, model, sources, hop=hop, window=window, max_batch=2)
    assert max(len(ends) for _, ends in model.began) <= 2
    counted = [channel.counters for channel in made.channels]
    captions = [counters.captions for counters in counted]
    assert min(captions) > 10 and max(captions) <= min(captions) + 3
    assert all(every_window_is_counted(counters) and counters.skipped for counters in counted)


def test_files_beside_a_microphone_make_it_wait_for_one_short_batch() -> None:
    """A dozen files that are read as fast as may be: the microphone skips nothing that it could have."""
    time = SimulatedTime()
    model = SlowModel(time, lambda _, windows: windows * 0.2 * HOP_S)
    files = [FakeSource([noise(20 * HOP, number)], label=f"{number}.wav") for number in range(12)]
    made, _ = simulated(time, model, [steady(time, 120.0), *files])
    microphone, *others = [channel.counters for channel in made.channels]
    assert all(counters.described == counters.windows == 16 for counters in others), "a file loses nothing"
    ends = {end for began_s, batch in model.began for end in batch}
    assert microphone.windows == 56 and len(ends) >= 16
    assert microphone.described >= 50
    assert every_window_is_counted(microphone)


def test_a_sound_that_is_told_already_is_not_told_late() -> None:
    """A bang of a second in silence, at seven hops a window: its last window would be described long after it."""
    time = SimulatedTime()
    sound = np.zeros(120 * 16_000, np.float32)
    sound[30 * 16_000 : 31 * 16_000] = noise(16_000)
    model = SlowModel(time, lambda _now_s, _windows: 7 * HOP_S)
    made, sink = simulated(time, model, [SteppedSource(time, "mic0", in_blocks(sound, BLOCK))])
    counters = made.channels[0].counters
    assert every_window_is_counted(counters)
    assert counters.skipped["late"] == 1
    assert len(sink.captions) == 1
    assert all(began_s - end / 16_000 <= 2 * HOP_S for began_s, ends in model.began for end in ends)


def test_a_sound_that_nobody_told_is_told_however_late() -> None:
    """A second bang comes while the first one is described, for a minute: it is over before the model is free."""
    time = SimulatedTime()
    sound = np.zeros(160 * 16_000, np.float32)
    for at_s in (30, 45):
        sound[at_s * 16_000 : (at_s + 1) * 16_000] = noise(16_000)
    model = SlowModel(time, lambda now_s, _: 29.0 if now_s < 60.0 else 0.1)
    made, sink = simulated(time, model, [SteppedSource(time, "mic0", in_blocks(sound, BLOCK))])
    assert every_window_is_counted(made.channels[0].counters)
    heard = [end for _, ends in model.began for end in ends]
    assert any(end - WINDOW <= 45 * 16_000 < end for end in heard)
    assert len(sink.captions) == 2


def test_under_load_the_hop_grows_until_nothing_is_skipped_and_comes_back_at_once() -> None:
    time = SimulatedTime()
    model = SlowModel(time, slow_for_a_minute)
    made, sink = simulated(time, model, [steady(time, 180.0)], limits=HopLimits(10.0, 4.0), health_interval_s=10.0)
    counters = made.channels[0].counters
    assert every_window_is_counted(counters)
    # Two slow batches in a row are a habit; until then windows are skipped.
    assert 0 < counters.skipped.total() <= 6
    began = [began_s for began_s, _ in model.began]
    assert all(began_s - ends[-1] / 16_000 <= 2 * HOP_S for began_s, ends in model.began)
    health = [record for record in sink.records if isinstance(record, Health)]
    hops_s = [record.hop_s for record in health]
    assert hops_s[0] == hops_s[-1] == HOP_S and max(hop_s for hop_s in hops_s if hop_s) == pytest.approx(6.6)
    slowest = max(health, key=lambda record: record.hop_s or 0.0)
    assert any("longer than the hop" in warning for warning in slowest.warnings)
    assert not health[-1].warnings
    late = [began_s for began_s in began if began_s > 132.0][:-1]  # the last one ends where the sound does
    assert [round(b - a, 3) for a, b in zip(late, late[1:], strict=False)] == [HOP_S] * (len(late) - 1)


def test_equal_times_give_equal_hops_and_equal_records() -> None:
    def run() -> list[tuple[str | None, str, float]]:
        time = SimulatedTime()
        model = SlowModel(time, slow_for_a_minute, script=[scored("rain"), scored("dog", direction=90.0)])
        sources = [steady(time, 90.0, f"mic{number}") for number in range(2)]
        _, sink = simulated(time, model, sources, limits=HopLimits(10.0, 4.0))
        captions = [record for record in sink.records if isinstance(record, Caption)]
        return [(record.start, record.caption, record.latency_ms.total) for record in captions]

    assert run() == run()


def test_nothing_but_live_sources_has_another_hop() -> None:
    time = SimulatedTime()
    model = SlowModel(time, lambda _now_s, _windows: 5 * HOP_S)
    file = FakeSource([np.zeros(30 * HOP, np.float32), noise(30 * HOP)], label="garden.wav")
    made, _ = simulated(time, model, [file], limits=HopLimits(10.0, 4.0))
    assert made.channels[0].counters.windows == (60 * 2 - 10) // 2 + 1
    assert made.channels[0].adaptation.hop is None


def test_windows_without_sound_keep_no_frames() -> None:
    """Half a minute of silent windows of a short hop is 150 MB of frames that nobody reads."""
    time = SimulatedTime()
    model = SlowModel(time, lambda _now_s, _windows: 15.0)
    sound = np.zeros(40 * 16_000, np.float32)
    sound[: 10 * 16_000] = noise(160_000)
    tracemalloc.start()
    try:
        simulated(time, model, [SteppedSource(time, "mic0", in_blocks(sound, BLOCK))], hop=1_600)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50 * 998 * 128 * 4
