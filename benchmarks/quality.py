"""What a bundle says of recordings of a held-out fold: single clips and two-sound scenes, through the runtime.

    python -m benchmarks.quality --data FOLDER --fold 4 --output quality.json

The measures are those of ``quantize.training.metrics``: a caption names an event when a word of its class's lexicon
occurs. Scenes are drawn with a fixed seed, half of them overlapping, half in sequence.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edge_aac.audio.features import filter_bank
from edge_aac.captioner.captioner import Captioner, window_rng
from quantize.data.clips import Waveform, load_clips
from quantize.data.scenes import SceneBuilder, SceneRecipe, coloured_noise, padded_clip, two_sound_scenes
from quantize.training.metrics import event_scores, named_events, named_share, order_share

SCENE_SEED = 4404
"""Not the seed of the validation scenes that training prints, so that nobody chose an epoch by these."""

NOISE_WINDOWS = 50


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="esc10-tiny")
    parser.add_argument("--data", type=Path, required=True, help="folder with clips.csv")
    parser.add_argument("--fold", type=int, default=4, help="recordings that the bundle was not trained on")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the candidates")
    parser.add_argument("--output", type=Path, help="JSON file for `edge-aac export --quality`")
    parser.add_argument("--show", action="store_true", help="print every caption beside its truth")
    arguments = parser.parse_args()
    captioner = Captioner.open(arguments.bundle)
    scores = measure(captioner, arguments.data, arguments.fold, arguments.scenes, arguments.seed, arguments.show)
    text = json.dumps(scores, indent=1)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")


def measure(captioner: Captioner, data: Path, fold: int, scene_count: int, seed: int, show: bool) -> dict[str, Any]:
    """All scores of one bundle on one fold."""
    clips = load_clips(data, (fold,))
    with (captioner.bundle.folder / "ATTRIBUTIONS.csv").open(newline="", encoding="utf-8") as stream:
        trained_on = {row["file"] for row in csv.DictReader(stream)}
    if shared := trained_on & {clip.path for clip in clips}:
        raise SystemExit(f"the bundle was trained on {len(shared)} recordings of fold {fold}: choose another --fold")
    scenes = two_sound_scenes(SceneBuilder(clips, SceneRecipe()), scene_count, SCENE_SEED)
    single = [say(captioner, padded_clip(clip.waveform), seed) for clip in clips]
    double = [say(captioner, scene.waveform, seed) for scene in scenes]
    rng = np.random.default_rng(SCENE_SEED)
    noise = [
        say(captioner, coloured_noise(160_000, rng) * np.float32(10.0 ** (rng.uniform(-60.0, -35.0) / 20.0)), seed)
        for _ in range(NOISE_WINDOWS)
    ]
    truths = [scene.labels for scene in scenes]
    if show:
        for truth, caption in zip([[clip.label] for clip in clips] + truths, single + double, strict=True):
            mark = " " if set(truth) == set(named_events(caption)) else "x"
            print(f"{mark} {' + '.join(truth):30} {caption}")
    by_label: dict[str, list[bool]] = defaultdict(list)
    for clip, caption in zip(clips, single, strict=True):
        by_label[clip.label].append(clip.label in named_events(caption))
    ordered = [index for index, scene in enumerate(scenes) if scene.relation == "sequence"]
    return {
        "measured_by": f"python -m benchmarks.quality --fold {fold} --scenes {scene_count} --seed {seed}",
        "precision": captioner.encoder_graph.precision,
        "candidates": captioner.rules.candidates,
        "held_out_fold": fold,
        "single_clips": {
            "count": len(clips),
            "right_sound_named": round(named_share(single, [clip.label for clip in clips]), 4),
            "right_and_no_other": round(event_scores(single, [[clip.label] for clip in clips]).exact, 4),
            "by_class": {label: round(sum(hits) / len(hits), 3) for label, hits in sorted(by_label.items())},
        },
        "two_sound_scenes": {
            "count": len(scenes),
            **{name: round(value, 4) for name, value in asdict(event_scores(double, truths)).items()},
            "order_of_sequences_right": round(
                order_share([double[i] for i in ordered], [truths[i] for i in ordered]), 4
            ),
        },
        "noise_windows": {
            "count": NOISE_WINDOWS,
            "no_class_named": round(sum(not named_events(caption) for caption in noise) / NOISE_WINDOWS, 4),
        },
    }


def say(captioner: Captioner, waveform: Waveform, seed: int) -> str:
    """What the device would say of a 10 s window."""
    return captioner.caption(filter_bank(waveform), window_rng(seed, 0)).best.text


if __name__ == "__main__":
    main()
