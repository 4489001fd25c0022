"""What a tagger hears in a store: events as they are, made once, and refused where they are another store's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_aac.errors import ConfigError, DataError, InputMissingError
from quantize.data.everyday.heard_sounds import HEARD, hear_store, probabilities, read_heard
from quantize.data.everyday.lexicon import english, sound_of
from quantize.data.sounds.store import SoundStore
from tests.quantize.data.everyday.stored_tones import SOUNDS, TONES, ToneTagger, stored_tones, tone

LEXICON = english()


@pytest.fixture
def store(tmp_path: Path) -> SoundStore:
    return stored_tones(tmp_path / "store")


def _hear(store: SoundStore, folder: Path, tagger: ToneTagger, identity: str = "a") -> None:
    hear_store(store, tagger, LEXICON, folder, {"tagger": identity}, lambda done: None)


def test_probabilities_follow_the_sound_in_time() -> None:
    tagger = ToneTagger()
    heard = probabilities(tagger, tone(TONES["Siren"], 10.0, 4.0, 8.0).astype(np.float32))[:, tagger.places[0]]
    assert len(heard) == 20
    assert heard[:4].max() < 0.01 and heard[10:14].min() > 0.9
    # Windows of 2 s: half of one is in the sound where it begins.
    assert 0.05 < heard[8] < 0.9


def test_less_than_a_second_is_heard_as_well() -> None:
    tagger = ToneTagger()
    heard = probabilities(tagger, tone(TONES["Bark"], 0.3).astype(np.float32))
    assert heard.shape == (1, 527) and tagger.heard == [16000]


def test_each_sound_has_its_events(store: SoundStore, tmp_path: Path) -> None:
    _hear(store, tmp_path, ToneTagger())
    events = read_heard(tmp_path)
    assert [[event.named() for event in one] for one in events] == [["dog_bark"], ["siren"], ["rain"], [], ["rain"]]
    (bark,) = events[0]
    assert (bark.start_s, bark.end_s) == pytest.approx((SOUNDS[0].start_s, SOUNDS[0].end_s), abs=0.75)
    assert bark.level_db == pytest.approx(-20.0, abs=2.0)
    assert [belief.sound for belief in bark.beliefs] == ["dog_bark", "dog", "pet", "animal"]


def test_a_broken_off_run_goes_on_with_what_is_missing(store: SoundStore, tmp_path: Path) -> None:
    _hear(store, tmp_path, ToneTagger())
    whole = (tmp_path / HEARD).read_bytes()
    lines = whole.splitlines(keepends=True)
    (tmp_path / HEARD).write_bytes(b"".join(lines[:3]) + lines[3][:20])
    with pytest.raises(DataError, match="is damaged"):
        read_heard(tmp_path)
    (tmp_path / HEARD).write_bytes(b"".join(lines[:3]))
    with pytest.raises(InputMissingError, match="holds 2 of 5 sounds"):
        read_heard(tmp_path)
    (tmp_path / HEARD).write_bytes(b"".join(lines[:3]) + lines[3][:20])
    tagger = ToneTagger()
    _hear(store, tmp_path, tagger)
    assert len(tagger.heard) == 3
    assert (tmp_path / HEARD).read_bytes() == whole


def test_another_tagger_s_table_is_refused(store: SoundStore, tmp_path: Path) -> None:
    _hear(store, tmp_path, ToneTagger())
    with pytest.raises(ConfigError, match="another store, tagger or lexicon"):
        _hear(store, tmp_path, ToneTagger(), "b")


def test_no_table_and_a_damaged_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="have a tagger hear"):
        read_heard(tmp_path)
    (tmp_path / HEARD).write_text(json.dumps({"sounds": 1}) + "\n[[1, 2]]\n", encoding="utf-8")
    with pytest.raises(DataError, match="have the tagger hear the sounds again"):
        read_heard(tmp_path)


def test_labels_of_recordings_and_of_audioset_are_both_sounds() -> None:
    assert sound_of(LEXICON, "dog_bark") == "dog_bark"
    assert sound_of(LEXICON, "Bark") == "dog_bark"
    assert sound_of(LEXICON, "Static") is None
    assert sound_of(LEXICON, "nothing of that name") is None
