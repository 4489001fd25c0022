"""The account of lost sound: whatever is noted when, all who ask are told the same."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from edge_aac.audio.connection import Loss, LossReason, Outage
from edge_aac.records import Gap, GapReason, parse_record
from edge_aac.streaming.losses import BEHIND_S, GATHERED_S, LossAccount, LostSound, milliseconds


def test_the_records_know_every_reason() -> None:
    assert set(get_args(LossReason)) == set(get_args(GapReason))
    for reason in get_args(GapReason):
        gap = Gap(node="kitchen", source="mic0", start="a", end="b", reason=reason, lost_ms=1_500)
        assert "1.5 s" in gap.sentence()
        assert parse_record(gap.to_json()) == gap
        assert "detail" not in gap.to_table()


def test_an_outage_is_one_loss_with_the_reason_that_cost_most() -> None:
    account = LossAccount()
    outage = Outage("disconnected", 100.0, "It is gone.")
    lost = account.note(1_000, [Loss("disconnected", 16_000, outage), Loss("suspended", 160_000), Loss("lost", 16)])
    assert lost == 176_016
    first, second = account.take_due(0.0)
    assert first == LostSound("suspended", 1_000, 177_000, 176_000, 11_000)
    assert second == LostSound("lost", 177_000, 177_016, 16, 1)
    assert account.take_due(1e6) == []


def test_small_losses_are_gathered_for_a_minute() -> None:
    account = LossAccount()
    for number in range(10):
        account.note(1_000 * number, [Loss("lost", 160)])
        told = account.take_due(float(number))
        assert len(told) == (number == 0)
    account.note_overrun(20_000, 20_100, 320)
    (overrun,) = account.take_due(GATHERED_S - 1)
    assert overrun == LostSound("overrun", 20_000, 20_320, 320, 20)
    (gathered,) = account.take_due(GATHERED_S)
    assert gathered == LostSound("lost", 1_000, 9_160, 9 * 160, 90)


def test_an_outage_that_goes_on_counts_and_is_never_taken_back() -> None:
    account = LossAccount()
    outage = Outage("stalled", 100.0, "It is mute.")
    assert account.total_samples(None, 101.0) == 0
    assert account.total_samples(outage, 100.0 + BEHIND_S / 2) == 0
    assert account.total_samples(outage, 110.0 + BEHIND_S) == 160_000
    assert account.total_samples(None, 110.0) == 160_000, "the source has just returned, and its loss is not noted yet"
    # By the samples it was a little less.
    assert account.note(0, [Loss("stalled", 159_000, outage)]) == 160_000
    assert account.total_samples(outage, 500.0) == 160_000, "another thread still holds what is over"
    (lost,) = account.take_due(0.0)
    assert (lost.samples, lost.detail) == (160_000, "It is mute.")
    again = Outage("stalled", 100.0, "It is mute.")
    assert account.total_samples(again, 110.0) == 304_000, "one like it is another one"


def test_the_end_of_the_run_is_the_end_of_all_losses() -> None:
    account = LossAccount()
    outage = Outage("disconnected", 100.0, "It is gone.")
    account.note(0, [Loss("lost", 40)])
    account.take_due(0.0)
    account.note(100, [Loss("lost", 24)])
    told = account.close(16_000, outage, 103.0)
    assert told == [
        LostSound("lost", 100, 124, 24, 2),
        LostSound("disconnected", 16_000, 64_000, 48_000, 3_000, "It is gone."),
    ]
    assert account.note(64_000, [Loss("lost", 40)]) == 0
    account.note_overrun(0, 1, 1)
    assert account.total_samples(outage, 500.0) == 48_064
    assert account.close(0, outage, 500.0) == []


@pytest.mark.parametrize("seed", range(20))
def test_milliseconds_add_up_whatever_is_lost_when(seed: int) -> None:
    random = np.random.default_rng(seed)
    account = LossAccount()
    told, health, reported, overrun, now_s = 0, 0, 0, 0, 0.0
    for _ in range(300):
        now_s += float(random.exponential(5.0))
        match int(random.integers(0, 4)):
            case 0:
                account.note(0, [Loss("lost", int(random.integers(0, 40)))])
            case 1:
                overrun += int(random.integers(0, 40))
                account.note_overrun(0, 1, overrun)
            case 2:
                outage = Outage("disconnected", now_s, "")
                now_s += float(random.exponential(3.0))
                account.total_samples(outage, now_s)
                account.note(0, [Loss("disconnected", int(random.integers(0, 100_000)), outage)])
            case _:
                told += sum(lost.lost_ms for lost in account.take_due(now_s))
        total = milliseconds(account.total_samples(None, now_s))
        health, reported = health + total - reported, total
    told += sum(lost.lost_ms for lost in account.close(0, None, now_s))
    assert told == health == milliseconds(account.total_samples(None, now_s)) > 0
