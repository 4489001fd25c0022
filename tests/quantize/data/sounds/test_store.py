"""The packed store: what is written is read, broken-off runs leave nothing behind, folds are kept apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_aac.errors import DataError, InputMissingError
from quantize.data.sounds.overlaps import Overlap, write_copies
from quantize.data.sounds.store import ROWS, SOUND, Samples, SoundStore, StoredSound, StoreWriter, sixteen_bit


def described(title: str, fold: int = 1) -> StoredSound:
    return StoredSound("", title, "bell, small", fold, "CC0-1.0", 'A "nickname" of\nhers', "somewhere")


def sounds(*lengths: int, fold: int = 1) -> Iterator[tuple[StoredSound, Samples]]:
    for length in lengths:
        yield described(f"{length}.wav", fold), np.arange(length, dtype=np.int16)


def test_what_is_appended_is_read_in_the_same_order(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path)
    assert writer.append("first", sounds(3, 5)) == 2
    assert StoreWriter(tmp_path).append("second", sounds(4, fold=2)) == 1
    store = SoundStore.open(tmp_path)
    assert isinstance(store.sound, np.memmap)
    assert store.sound.tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert [(row.source, row.title, row.fold, row.start, row.length) for row in store.rows] == [
        ("first", "3.wav", 1, 0, 3),
        ("first", "5.wav", 1, 3, 5),
        ("second", "4.wav", 2, 8, 4),
    ]
    assert (store.rows[0].label, store.rows[0].author) == ("bell, small", 'A "nickname" of\nhers')
    assert store.waveform(store.rows[2]).tolist() == pytest.approx([0, 1 / 32767, 2 / 32767, 3 / 32767])


def test_a_source_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path)
    writer.append("first", sounds(3))

    def broken() -> Iterator[tuple[StoredSound, Samples]]:
        yield from sounds(1000)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writer.append("second", broken())
    assert len(SoundStore.open(tmp_path).sound) == 3
    again = StoreWriter(tmp_path)
    assert again.sources == ("first",)
    assert (tmp_path / SOUND).stat().st_size == 128 + 2 * 3
    again.append("second", sounds(7))
    assert [row.length for row in SoundStore.open(tmp_path).rows] == [3, 7]


def test_rows_of_a_source_that_was_not_noted_as_complete_are_removed(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path)
    writer.append("first", sounds(3))
    with (tmp_path / ROWS).open("a", encoding="utf-8") as table:
        table.write("half,x.wav,,1,CC0,a,b,3,9\n")
    assert [row.source for row in SoundStore.open(tmp_path).rows] == ["first"]
    StoreWriter(tmp_path)
    assert "half" not in (tmp_path / ROWS).read_text(encoding="utf-8")


def test_a_source_is_appended_once(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path)
    writer.append("first", sounds(3))
    with pytest.raises(DataError, match="first is in"):
        writer.append("first", sounds(3))


def test_a_store_that_lost_sound_is_refused(tmp_path: Path) -> None:
    StoreWriter(tmp_path).append("first", sounds(300))
    (tmp_path / SOUND).write_bytes((tmp_path / SOUND).read_bytes()[:400])
    with pytest.raises(DataError, match="shorter"):
        StoreWriter(tmp_path)


def test_a_folder_without_a_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="no store of sound"):
        SoundStore.open(tmp_path)


def test_neither_a_held_out_fold_nor_a_copy_of_it_is_trained_on(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path)
    writer.append("clips", sounds(10, fold=4))
    writer.append("debian:game", sounds(11, 12, fold=1))
    store = SoundStore.open(tmp_path)
    assert [row.length for row in store.training_rows((4,))] == [11, 12]
    held_out, copy = store.rows[0], store.rows[1]
    write_copies(tmp_path, [Overlap(held_out, copy, 1.0, 0.05)])
    store = SoundStore.open(tmp_path)
    assert [row.length for row in store.training_rows((4,))] == [12]
    assert [row.length for row in store.training_rows((1,))] == [10]
    assert [row.length for row in store.training_rows(())] == [10, 11, 12]


def test_what_exceeds_full_scale_is_scaled_not_clipped() -> None:
    assert sixteen_bit(np.array([0.5, -0.25])).tolist() == [16384, -8192]
    assert sixteen_bit(np.array([2.0, -1.0])).tolist() == [32767, -16384]
