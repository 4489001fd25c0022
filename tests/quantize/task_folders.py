"""Folders laid out as the published sets are, with a few short sounds in them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
CLOTHO_HEADS = ("file_name", *(f"caption_{number}" for number in range(1, 6)))
ESC50_HEADS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")


def write_sound(path: Path, seed: int, seconds: float = 1.0) -> None:
    """Noise that is louder and duller the larger its seed is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    smoothed = np.convolve(noise, np.ones(1 + 4 * seed) / (1 + 4 * seed), mode="same")
    soundfile.write(path, np.clip(0.1 * smoothed / max(np.abs(smoothed).max(), 1e-9) * (1 + seed), -0.9, 0.9), RATE)


def write_table(path: Path, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """A CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(heads)
        table.writerows(rows)
    return path


def esc50_folder(folder: Path) -> Path:
    """Rain, a dog and a crackling fire in fold 1; rain in fold 2."""
    rows = []
    for number, (fold, category) in enumerate(((1, "rain"), (1, "dog"), (1, "crackling_fire"), (2, "rain"))):
        name = f"{fold}-{100 + number}-A-{number % 3}.wav"
        write_sound(folder / "audio" / name, number)
        rows.append((name, fold, number % 3, category, "True", 100 + number, "A"))
    write_table(folder / "meta" / "esc50.csv", ESC50_HEADS, rows)
    return folder


def urbansound_folder(folder: Path) -> Path:
    """A siren in fold 1, an air conditioner in fold 10."""
    rows = []
    for number, (fold, name) in enumerate(((1, "siren"), (10, "air_conditioner"))):
        file = f"{200 + number}-{number}-0-0.wav"
        write_sound(folder / "audio" / f"fold{fold}" / file, number)
        rows.append((file, 200 + number, 0.0, 1.0, 1, fold, number, name))
    heads = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
    write_table(folder / "metadata" / "UrbanSound8K.csv", heads, rows)
    return folder


def fsd50k_folder(folder: Path) -> Path:
    """Two recordings to train on, one to validate on, two to test on; all of several labels."""
    dev = (("11", "Bark,Dog", "train"), ("12", "Rain", "train"), ("13", "Rain,Thunder", "val"))
    tested = (("21", "Bark,Dog"), ("22", "Rain"))
    for number, (name, *_) in enumerate((*dev, *tested)):
        section = "dev" if name.startswith("1") else "eval"
        write_sound(folder / f"FSD50K.{section}_audio" / f"{name}.wav", number)
    truth = folder / "FSD50K.ground_truth"
    write_table(truth / "dev.csv", ("fname", "labels", "mids", "split"), [(n, la, "/m/x", s) for n, la, s in dev])
    write_table(truth / "eval.csv", ("fname", "labels", "mids"), [(n, la, "/m/x") for n, la in tested])
    return folder


def clotho_folder(folder: Path) -> Path:
    """Two recordings of the evaluation split, one of 12 s, one that is missing; one of the development split."""
    rows = {
        "evaluation": [
            ("Rain on a roof.wav", "Rain falls.", "It is raining.", "Rain on a roof.", "It pours.", "Rain is heard."),
            ("dog.wav", "A dog barks.", "The dog barks.", "A dog is barking.", "Barks.", "A dog barks twice."),
            ("gone.wav", "A.", "B.", "C.", "D.", "E."),
        ],
        "development": [("fire.wav", "A fire.", "Fire burns.", "A fire crackles.", "It crackles.", "Flames.")],
    }
    for split, of_split in rows.items():
        write_table(folder / f"clotho_captions_{split}.csv", CLOTHO_HEADS, of_split)
        for number, row in enumerate(of_split):
            if row[0] != "gone.wav":
                write_sound(folder / split / row[0], number, 12.0 if number == 0 else 1.0)
    return folder


def audiocaps_folder(folder: Path) -> Path:
    """Two clips of the test split, one with two captions."""
    heads = ("audiocap_id", "youtube_id", "start_time", "caption")
    rows = [
        (1, "aaaaaaaaaaa", 30, "Rain falls"),
        (2, "aaaaaaaaaaa", 30, "It rains"),
        (3, "bbbbbbbbbbb", 0, "A dog barks"),
    ]
    write_table(folder / "test.csv", heads, rows)
    for number, name in enumerate(("aaaaaaaaaaa_30", "bbbbbbbbbbb_0")):
        write_sound(folder / "audio" / f"{name}.wav", number)
    return folder


def clotho_aqa_folder(folder: Path) -> Path:
    """Three questions about two recordings, three answers each."""
    asked = (
        ("a.wav", "Is it raining?", ("yes", "yes", "no")),
        ("a.wav", "How many dogs bark?", ("2", "two", "Two")),
        ("b.wav", "What is heard?", ("a dog", "dog", "wind")),
    )
    rows = [(file, question, answer, "yes") for file, question, answers in asked for answer in answers]
    write_table(folder / "clotho_aqa_test.csv", ("file_name", "QuestionText", "answer", "confidence"), rows)
    for number, name in enumerate(("a.wav", "b.wav")):
        write_sound(folder / "audio_files" / name, number)
    return folder
