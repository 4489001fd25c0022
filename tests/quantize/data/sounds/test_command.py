"""``python -m quantize.data.sounds``: a store from labelled recordings and computed sounds, taken up again."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_aac.errors import DataError, InputMissingError
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import COLUMNS, TABLE
from quantize.data.sounds.__main__ import main
from quantize.data.sounds.labelled import labelled_sounds
from quantize.data.sounds.store import COPIES, SoundStore

NONE = ("--voices", "0", "--instruments", "0", "--packages")


def recordings(folder: Path, rows: dict[str, tuple[str, str, float]]) -> Path:
    folder.mkdir()
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for file, (label, fold, seconds) in rows.items():
            noise = 0.1 * np.random.default_rng(len(file)).standard_normal(round(seconds * 22_050))
            soundfile.write(folder / file, noise, 22_050)
            table.writerow((file, label, fold, "title", "A. Author", "CC BY 3.0", "somewhere"))
    return folder


def test_a_store_is_filled_and_taken_up_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = recordings(tmp_path / "clips", {"a.wav": ("zip", "3", 1.0), "long.wav": ("gong", "4", 12.0)})
    store = tmp_path / "store"
    assert main([str(store), "--data", str(clips), "--synthesised", "3", *NONE]) == 0
    assert "5 sounds" in capsys.readouterr().out
    rows = SoundStore.open(store).rows
    assert [(row.source, row.label, row.fold, row.length / SAMPLE_RATE) for row in rows[:2]] == [
        ("clips", "zip", 3, 1.0),
        ("clips", "gong", 4, 10.0),
    ]
    assert (rows[0].title, rows[0].license, rows[0].author) == ("a.wav", "CC BY 3.0", "A. Author")
    before = (store / "sound.npy").read_bytes()
    assert main([str(store), "--data", str(clips), "--synthesised", "3", *NONE]) == 0
    assert (store / "sound.npy").read_bytes() == before
    assert (store / COPIES).is_file()


def test_what_was_left_out_can_be_added_later(tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert main([str(store), "--synthesised", "0", *NONE]) == 0
    assert main([str(store), "--synthesised", "2", *NONE]) == 0
    assert [row.source for row in SoundStore.open(store).rows] == ["synthesised"] * 2


def test_a_missing_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([str(tmp_path / "store"), "--data", str(tmp_path / "none"), "--synthesised", "0", *NONE])
    assert code == InputMissingError.exit_code
    assert "no clips.csv" in capsys.readouterr().err


def test_a_fold_that_is_no_number_is_refused(tmp_path: Path) -> None:
    clips = recordings(tmp_path / "clips", {"a.wav": ("zip", "test", 1.0)})
    with pytest.raises(DataError, match=r"a\.wav the fold 'test'"):
        list(labelled_sounds(clips))
