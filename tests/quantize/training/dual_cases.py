"""What a small student of CLAP learns from in tests: tones, texts and a recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import COLUMNS
from tests.quantize.data.everyday.stored_tones import tone

LABELS = ("a low hum", "a whistle", "a shrill beep", "a steady buzz")
# Those that the tiny CLAP, whose weights are random, tells apart best.
SOUNDS = {"hum": tone(300.0, 3.0), "buzz": tone(800.0, 3.0), "noise": np.random.default_rng(0).normal(0, 0.1, 48_000)}
RECIPE = """
[bundle]
name = "small-clap"
version = "1"
license = "CC0-1.0"
[sound]
stem_width = 0.1
stem_frames = 499
stem_hop_frames = 499
dim = 24
[text]
dim = 16
head_dim = 8
heads = 2
ffn_dim = 32
layers = 1
embedding_dim = 20
dropout = 0.0
[train]
epochs = 15
windows = 12
scenes_per_epoch = 32
batch_scenes = 4
held_out = [2]
validation_windows = 2
contrastive_weight = 0.0
similarity_weight = 3.0
masks = 0
learning_rate = 5e-3
warmup_steps = 4
ema_decay = 0.5
workers = 0
"""


def write_recordings(folder: Path) -> None:
    """The sounds in folds 1 and 2, with their table."""
    folder.mkdir()
    rows = [",".join(COLUMNS)]
    for fold in (1, 2):
        for name, sound in SOUNDS.items():
            soundfile.write(folder / f"{fold}-{name}.wav", sound[fold:], SAMPLE_RATE)
            rows.append(f"{fold}-{name}.wav,{name},{fold},{name},somebody,CC0-1.0,here")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
