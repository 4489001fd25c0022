"""Held-out scenes as a folder of tasks: what is written is what the task sets read, and of one fold alone."""

from __future__ import annotations

from pathlib import Path

import soundfile
from typer.testing import CliRunner

from quantize.data.everyday.heard_sounds import hear_store
from quantize.data.everyday.lexicon import english
from quantize.data.everyday.questions import KINDS
from quantize.data.everyday.task_folder import app
from quantize.data.task_sets.contract import ChosenPart
from quantize.data.task_sets.finding import captioned_set, question_set
from tests.quantize.data.everyday.stored_tones import ToneTagger, stored_tones


def test_scenes_of_a_fold_with_captions_and_questions(tmp_path: Path) -> None:
    store = stored_tones(tmp_path / "store")
    hear_store(store, ToneTagger(), english(), tmp_path / "heard", {}, lambda done: None)
    arguments = ["--data", str(tmp_path / "store"), "--examples", str(tmp_path / "heard"), "--fold", "4"]
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        result = CliRunner().invoke(app, [*arguments, "--scenes", "12", "--asked", "4", str(folder)])
        assert result.exit_code == 0, result.exception
    one, two = folders
    for name in ("captions.csv", "questions.csv", "audio/scene-of-fold-4-0003.flac"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    captioned = captioned_set(one, ChosenPart()).manifest
    assert len(captioned.clips) == 12 and not captioned.broken
    asked = question_set(one, ChosenPart()).questions
    assert {question.kind for question in asked} <= set(KINDS) and len(asked) > 12
    assert all(question.text.endswith("?") and len(question.answers) == 1 for question in asked)
    # Of fold 4 there is rain alone; static is in fold 2.
    text = (one / "captions.csv").read_text(encoding="utf-8")
    assert "rain" in text and not any(word in text for word in ("dog", "siren"))
    sound, rate = soundfile.read(one / "audio" / "scene-of-fold-4-0000.flac")
    assert (len(sound), rate) == (160_000, 16_000)
