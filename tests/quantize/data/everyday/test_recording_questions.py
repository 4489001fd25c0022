"""Questions about labelled recordings: each sound is asked for where it is heard and where it is not."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from edge_aac.cli import run_command
from edge_aac.errors import InputMissingError, UsageError
from quantize.data.everyday import task_folder
from quantize.data.everyday.lexicon import english
from quantize.data.everyday.questions import EVENTS
from quantize.data.everyday.recording_questions import app, recording_questions
from quantize.data.task_sets.contract import ChosenPart
from quantize.data.task_sets.finding import question_set

_HEAD = "file,label,fold,title,author,license,source_url\n"


def _recordings(folder: Path, *rows: tuple[str, str, int]) -> Path:
    for name, _, _ in rows:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, np.full(1600, 0.1, np.float32), 16_000)
    lines = [f"{name},{label},{fold},t,a,CC0,-\n" for name, label, fold in rows]
    (folder / "clips.csv").write_text(_HEAD + "".join(lines), encoding="utf-8")
    return folder


def test_recordings_of_a_fold_with_questions(tmp_path: Path) -> None:
    data = _recordings(
        tmp_path / "data",
        ("in/a.wav", "dog_bark", 4),
        ("b.wav", "rain", 4),
        ("c.wav", "siren", 1),
        ("d.wav", "nonsense", 4),
        ("other/c.wav", "rain", 4),
    )
    out = tmp_path / "out"
    arguments = ["--data", str(data), "--fold", "4"]
    result = CliRunner().invoke(app, [*arguments, "--absent", "9", str(out)])
    assert result.exit_code == 0, result.exception
    assert sorted(path.name for path in out.rglob("*.wav")) == ["a.wav", "b.wav"]
    asked = question_set(out, ChosenPart()).questions
    answers = {(question.recording.path.name, question.text): question.answers for question in asked}
    assert len(answers) == len(asked) == 8
    dog = next(answer for (name, text), (answer,) in answers.items() if (name, text) == ("a.wav", EVENTS))
    assert answers["a.wav", f"is there {dog}?"] == ("yes",) and answers["b.wav", f"is there {dog}?"] == ("no",)
    assert any("siren" in text for name, text in answers if name == "a.wav"), "a sound of the set, if not of the fold"
    again = CliRunner().invoke(app, [*arguments, str(out)])
    assert isinstance(again.exception, UsageError)


@pytest.mark.parametrize("command", [app, task_folder.app])
def test_what_a_user_got_wrong_is_one_sentence(
    command: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = ["--examples", "x"] if command is task_folder.app else []
    monkeypatch.setattr(sys, "argv", ["it", "--data", str(tmp_path / "none"), *examples, str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        run_command(command)
    assert ended.value.code == InputMissingError.exit_code
    assert "none" in (told := capsys.readouterr().err) and told.count("\n") == 1


@pytest.mark.parametrize("absent", [0, 1, 3])
def test_what_is_related_is_not_asked_for(absent: int) -> None:
    lexicon, others = english(), ["dog_bark", "dog", "animal", "rain", "siren"]
    counted: Counter[str] = Counter()
    for seed in range(40):
        found = list(recording_questions(lexicon, "dog_bark", others, np.random.default_rng(seed), absent))
        assert [question.answer for question in found].count("no") == min(absent, 2)
        counted.update(name for question in found if question.answer == "no" for name in question.sounds)
    assert set(counted) <= {"rain", "siren"} and len(counted) == min(2, 2 * absent)
