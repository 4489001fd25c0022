"""Reconnection: when it tries again, what it counts, says and shows. Time is made of numbers; nothing sleeps."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from edge_aac.audio.connection import PermanentDeviceError, RefusedError, Sound
from edge_aac.audio.reconnect import FIRST_SOUND_S, STALL_S, Reconnecting, Timing
from edge_aac.backoff import Backoff
from edge_aac.errors import DeviceError, UsageError
from tests.edge_aac.fakes import read_until_closed

_BLOCK_S = 0.1
_PLAIN = Backoff(jitter=0.0)


class World:
    """A clock that moves when somebody waits, and a device that does what its script says, one entry a try.

    An entry is an error of the opening, or what each read of a connection gives: ``sound``, ``quiet``, an error, or a
    number of seconds that the next sound lost. A connection whose script is over is lost.
    """

    def __init__(self, *script: BaseException | Sequence[Any]) -> None:
        self.now_s = 1000.0
        self.waits: list[float] = []
        self.script = list(script)
        self.tries_at: list[float] = []
        self.open_connections = 0
        self.chance = 0.0
        self.on_wait: Callable[[], None] = lambda: None

    @property
    def timing(self) -> Timing:
        return Timing(now_s=lambda: self.now_s, wait=self._wait, chance=lambda: self.chance)

    def source(self, **options: Any) -> Reconnecting:
        return Reconnecting("yard", self._open, timing=self.timing, **{"backoff": _PLAIN, **options})

    def _wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now_s += seconds
        self.on_wait()
        return event.is_set()

    def _open(self, _closed: threading.Event) -> FakeConnection:
        self.tries_at.append(self.now_s)
        step = self.script.pop(0)
        if isinstance(step, BaseException):
            raise step
        self.open_connections += 1
        return FakeConnection(self, list(step))


class FakeConnection:
    def __init__(self, world: World, steps: list[Any]) -> None:
        self._world = world
        self._steps = steps

    def read(self, timeout_s: float) -> Sound | None:
        step = self._steps.pop(0) if self._steps else DeviceError("The cable was cut.")
        if isinstance(step, BaseException):
            raise step
        if step == "quiet":
            self._world.now_s += timeout_s
            return None
        lost_s = step if isinstance(step, float) else 0.0
        self._world.now_s += _BLOCK_S + lost_s
        return Sound(np.full(1_600, 0.5, np.float32), _BLOCK_S, self._world.now_s, lost_s)

    def close(self) -> None:
        self._world.open_connections -= 1


def _read(source: Reconnecting, blocks: int = 1) -> None:
    for _ in range(blocks):
        block = source.read()
        assert block is not None and len(block) == 1_600


def test_it_listens() -> None:
    world = World(["quiet", "sound", "sound"])
    source = world.source()
    assert (source.label, source.live, source.state) == ("yard", True, "waiting")
    _read(source, 2)
    assert (source.state, source.reconnects, source.lost_samples()) == ("listening", 0, 0)
    source.close()
    source.close()
    assert source.read() is None
    assert world.open_connections == 0


def test_an_outage_is_waited_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    gone = DeviceError("There is no input 'yard'.")
    world = World(["sound"] * 3, gone, gone, gone, ["quiet", "sound"])
    source = world.source()
    states = []
    world.on_wait = lambda: states.append(source.state)
    with caplog.at_level(logging.DEBUG):
        _read(source, 3)
        heard_until_s = world.now_s
        _read(source)
    assert world.waits == [0.5, 1.0, 2.0], "the first try after a loss does not wait, the others wait longer and longer"
    assert states == ["waiting"] * 3
    assert (source.state, source.reconnects) == ("listening", 1)
    assert source.lost_samples() == pytest.approx((world.now_s - _BLOCK_S - heard_until_s) * 16_000, abs=1)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "yard cannot be heard and is waited for: The cable was cut"),
        *[("DEBUG", "yard cannot be heard and is waited for: There is no input 'yard'")] * 3,
        ("WARNING", "yard is back"),
    ]
    source.close()
    assert world.open_connections == 0


def test_the_count_grows_during_an_outage() -> None:
    world = World(["sound"], *[DeviceError("Gone.")] * 4, ["sound"])
    source = world.source()
    counts: list[int] = []
    world.on_wait = lambda: counts.append(source.lost_samples())
    _read(source, 2)
    assert len(counts) == 4 and counts == sorted(set(counts))
    assert counts[-1] < source.lost_samples()


def test_waits_are_capped_and_spread() -> None:
    world = World(["sound"], *[DeviceError("Gone.")] * 100, ["sound"])
    world.chance = 1.0
    source = world.source(backoff=Backoff(jitter=0.25, longest_s=8.0))
    _read(source, 2)
    assert world.waits[:5] == [0.375, 0.75, 1.5, 3.0, 6.0]
    assert set(world.waits[5:]) == {6.0}
    assert Backoff().wait_s(10_000, 0.0) == 30.0


@pytest.mark.parametrize("opens", [False, True])
def test_one_that_comes_and_goes_is_tried_seldom_and_logged_once(opens: bool, caplog: pytest.LogCaptureFixture) -> None:
    world = World(*[["sound"] if opens else ["quiet"] * 50] * 20, ["sound"] * 102, ["sound"])
    source = world.source(wait_for_device=not opens)
    with caplog.at_level(logging.WARNING):
        _read(source, 121 if opens else 101)
        assert len(caplog.records) == 2, caplog.messages
        assert max(world.waits) == 30.0
        # After ten seconds of sound it is an outage like the first again.
        world.waits.clear()
        _read(source, 2)
        assert world.waits == []
        assert len(caplog.records) == 4


def test_one_that_opens_but_stays_mute_is_not_back(caplog: pytest.LogCaptureFixture) -> None:
    world = World(["sound", *["quiet"] * 20], ["quiet"] * 20, ["quiet"] * 20, ["sound"])
    source = world.source(stall_s=1.0, first_sound_s=1.0)
    states = []
    world.on_wait = lambda: states.append(source.state)
    with caplog.at_level(logging.WARNING):
        _read(source, 2)
    assert states == ["stalled", "stalled"]
    assert source.reconnects == 1
    assert caplog.messages == [
        "yard cannot be heard and is waited for: it is open, but there was no sound for 1 s",
        "yard is back",
    ]
    assert world.open_connections == 1


def test_refused_credentials_wait_longest(caplog: pytest.LogCaptureFixture) -> None:
    refused = RefusedError("The camera wants another password.")
    world = World(["sound"], DeviceError("Gone."), refused, refused, ["sound"])
    source = world.source()
    with caplog.at_level(logging.WARNING):
        _read(source, 2)
    assert world.waits == [0.5, 300.0, 300.0]
    assert [message.rpartition(": ")[2] for message in caplog.messages] == [
        "The cable was cut",
        "The camera wants another password",
        "yard is back",
    ]


@pytest.mark.parametrize("error", [UsageError("No such option."), PermanentDeviceError("No PyAudio."), OSError("Bug")])
@pytest.mark.parametrize("when", ["opening", "reading"])
def test_what_no_later_try_can_mend_ends_the_source(error: Exception, when: str) -> None:
    world = World(["sound"], error) if when == "opening" else World(["sound", OSError("Bug")])
    source = world.source()
    _read(source)
    with pytest.raises(type(error) if when == "opening" else OSError):
        source.read()
    assert source.state == "failed"
    assert world.open_connections == 0
    assert source.read() is None


def test_the_first_opening_fails_at_once_or_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    gone = DeviceError("There is no input 'yard'.")
    with pytest.raises(DeviceError, match="no input"):
        World(gone).source()
    world = World(gone, gone, ["sound", "sound"])
    source = world.source(wait_for_device=True)
    assert (world.tries_at, source.state) == ([], "waiting")
    with caplog.at_level(logging.WARNING):
        _read(source, 2)
    assert (source.state, source.reconnects, source.lost_samples()) == ("listening", 0, 0)
    assert caplog.messages == [
        "yard cannot be heard and is waited for: There is no input 'yard'",
        "yard is there",
    ]


def test_sound_lost_on_the_way_is_counted_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    world = World([0.25, *["sound"] * 5, 0.5, 0.25, *["sound"] * 600, 0.125])
    source = world.source()
    with caplog.at_level(logging.WARNING):
        _read(source)
        assert source.lost_samples() == 4_000
        _read(source, 608)
    assert source.lost_samples() == 18_000
    assert caplog.messages == [
        "yard: 0.25 s of sound were lost on the way",
        "yard: 0.88 s of sound were lost on the way",
    ]


def test_close_ends_the_wait_for_a_device() -> None:
    def absent(_closed: threading.Event) -> FakeConnection:
        raise DeviceError("Gone.")

    source = Reconnecting("yard", absent, wait_for_device=True, backoff=Backoff(first_s=1e6, longest_s=1e6))
    assert read_until_closed(source) == [None]
    assert source.state == "waiting"


def test_close_gives_an_opening_up(caplog: pytest.LogCaptureFixture) -> None:
    def slow(closed: threading.Event) -> FakeConnection:
        closed.wait()
        raise DeviceError("It was closed.")

    source = Reconnecting("yard", slow, wait_for_device=True)
    assert read_until_closed(source) == [None]
    assert caplog.messages == []


def test_a_connection_made_while_closing_is_closed() -> None:
    world = World(["sound"])

    def slow(closed: threading.Event) -> FakeConnection:
        closed.wait()
        return world._open(closed)

    source = Reconnecting("yard", slow, wait_for_device=True)
    assert read_until_closed(source) == [None]
    assert (len(world.tries_at), world.open_connections) == (1, 0)


def test_a_stall_is_found_after_two_seconds() -> None:
    world = World(["sound", *["quiet"] * 100], ["sound"])
    source = world.source()
    _read(source, 2)
    assert world.tries_at[1] - world.tries_at[0] == pytest.approx(_BLOCK_S + 2.0)
    assert STALL_S == 2.0
    (loss,) = source.take_losses()
    assert (loss.reason, loss.samples, source.outage, source.reason) == ("stalled", 32_000, None, None)


def test_an_outage_is_one_loss_with_its_first_reason() -> None:
    gone = DeviceError("There is no input 'yard'.")
    world = World(["sound", *["quiet"] * 20], gone, gone, [0.25, 0.25, "sound"])
    source = world.source()
    seen = []
    world.on_wait = lambda: seen.append((source.outage, source.reason, source.state))
    _read(source, 2)
    outages = {id(outage) for outage, _, _ in seen}
    assert len(outages) == 1, "however often it is tried"
    outage = seen[0][0]
    assert outage is not None and (outage.reason, outage.since_s) == ("stalled", 1000.0 + _BLOCK_S)
    assert [reason for _, reason, _ in seen] == ["There is no input 'yard'."] * 2
    _read(source)
    first, second = source.take_losses()
    assert (first.reason, first.outage, second.reason, second.samples) == ("stalled", outage, "lost", 4_000)
    assert first.samples + second.samples == source.lost_samples()
    assert source.take_losses() == []


def test_the_wait_for_a_device_that_was_never_there_is_no_outage() -> None:
    gone = DeviceError("There is no input 'yard'.")
    world = World(gone, ["sound"])
    source = world.source(wait_for_device=True)
    seen = []
    world.on_wait = lambda: seen.append((source.outage, source.reason))
    _read(source)
    assert seen == [(None, "There is no input 'yard'.")]
    assert (source.take_losses(), source.reason) == ([], None)


def test_a_sign_of_the_device_ends_the_pause() -> None:
    gone = DeviceError("There is no input 'yard'.")
    world = World(["sound"], *[gone] * 8, ["sound"])
    cards = ["old"]
    world.on_wait = lambda: cards.append("new") if len(world.tries_at) == 9 and world.now_s > plugged_s else None
    plugged_s = 1_000.0 + 0.1 + 0.5 + 1 + 2 + 4 + 8 + 16 + 30 + 10
    source = world.source(sign=lambda: cards[-1])
    _read(source, 2)
    assert max(world.waits) == 0.5
    assert world.tries_at[-1] == pytest.approx(plugged_s + 0.5), "not thirty seconds after the try before"


def test_the_first_sound_of_a_connection_may_take_longer() -> None:
    world = World([*["quiet"] * 40, "sound", *["quiet"] * 30], [*["quiet"] * 60], ["sound"])
    source = world.source()
    _read(source, 2)
    assert [later - earlier for earlier, later in zip(world.tries_at, world.tries_at[1:], strict=False)] == [
        pytest.approx(4.0 + _BLOCK_S + STALL_S),
        pytest.approx(FIRST_SOUND_S + 0.5),
    ]


def test_an_opening_may_take_as_long_as_its_source_says() -> None:
    allowed: list[float] = []

    def open_once(closed: threading.Event) -> FakeConnection:
        allowed.append(source.heartbeat.allowance_s)
        closed.set()
        raise DeviceError("nobody answers")

    source = Reconnecting("yard", open_once, wait_for_device=True, opening_s=700.0)
    assert source.read() is None
    assert allowed == [700.0]
