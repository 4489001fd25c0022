"""`edge-aac evaluate --task` of bundles that hear clips of their own: CLAP's kind, and those that answer prompts."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_aac.bundle.store import open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import UsageError
from edge_aac.models.clip_encoder import ClipEncoder
from edge_aac.models.prompted import Prompted
from edge_aac.records import Record
from edge_aac.records.answer import Answer
from edge_aac.streaming.asking import FileAsker
from edge_aac.streaming.privacy import PrivacyGate
from quantize.bundles.prompted import convert_prompted, prompted_provenance, prompted_source
from quantize.evaluation.tasks.clip_listening import ClipListener
from quantize.evaluation.tasks.listening import AudioClip
from tests.edge_aac.models.clip_bundles import write_clip_bundle
from tests.quantize import task_folders as folders
from tests.quantize.cli.evaluate_calls import call
from tests.quantize.models.audio_language_layout import write_clapcap, write_pengi


@pytest.fixture(autouse=True)
def nothing_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EDGE_AAC_DATA", "EDGE_AAC_BUNDLE", "EDGE_AAC_OUTLIERS"):
        monkeypatch.delenv(name, raising=False)


def measured(output: Path, *arguments: object) -> dict[str, Any]:
    result = call(*arguments, "--output", output)
    assert result.exit_code == 0, result.exception
    table: dict[str, Any] = json.loads((output / "scores.json").read_text(encoding="utf-8"))
    return table


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_clip_bundle(tmp_path_factory.mktemp("bundles") / "tiny-clap"))


def _by_hand(bundle: Path, sound: Path, text: str) -> float:
    """Cosine of a text and the mean of a file's clips, weighed by their sound."""
    encoder = ClipEncoder(open_bundle(str(bundle)), EngineOptions(threads=1))
    total = np.sum([part.embedding * (part.end_s - part.start_s) for part in encoder.hear(sound)], axis=0)
    return float(encoder.embed([text])[0] @ total / np.linalg.norm(total))


def test_labels_by_a_bundle_that_hears_clips(clap: Path, tmp_path: Path) -> None:
    """Of one second, so that 2.5 s are three of them."""
    data, output = tmp_path / "ESC-50", tmp_path / "report"
    rows = []
    for number, label in enumerate(("rain", "dog")):
        name = f"1-{number}-A-{number}.wav"
        folders.write_sound(data / "audio" / name, number, 2.5)
        rows.append((name, 1, number, label, "True", number, "A"))
    folders.write_table(data / "meta" / "esc50.csv", folders.ESC50_HEADS, rows)
    scores = measured(output, "--task", "classify", "--bundle", clap, "--data", data)
    assert scores["bundle"]["name"] == "tiny-clap" and "its clips" in scores["compared"]["what"]
    assert scores["template"] == "the sound of {}"
    for row in rows_of(output / "labels.csv"):
        cosine = _by_hand(clap, data / "audio" / row["file"], f"the sound of {row['found']}")
        assert float(row["score"]) == pytest.approx(cosine, abs=1e-4)
    error = call("--task", "classify", "--bundle", clap, "--data", data, "--compare", "caption").exception
    assert isinstance(error, UsageError) and "makes no captions" in str(error)


def test_stretches_of_long_files_are_cut_at_the_bundle_s_own_rate(clap: Path, tmp_path: Path) -> None:
    """A whole video's sound stands for ten seconds of it: none of the rest is heard."""
    sound = np.random.default_rng(0).normal(0.0, 0.1, 14 * folders.RATE)
    sound[: 3 * folders.RATE] = np.sin(np.arange(3 * folders.RATE))
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "aaaaaaaaaaa.wav", sound, folders.RATE)
    soundfile.write(tmp_path / "cut.wav", sound[3 * folders.RATE : 13 * folders.RATE], folders.RATE)
    heads = ("audiocap_id", "youtube_id", "start_time", "caption")
    folders.write_table(tmp_path / "test.csv", heads, [(1, "aaaaaaaaaaa", 3, "rain"), (2, "bbbbbbbbbbb", 0, "rain")])
    listener = ClipListener(open_bundle(str(clap)), None)
    clips = [AudioClip("a", tmp_path / "audio" / "aaaaaaaaaaa.wav", 3.0, 10.0), AudioClip("b", tmp_path / "cut.wav")]
    heard = listener.listen(clips, 0, lambda done: None)
    assert float(heard.vectors[0] @ heard.vectors[1]) == pytest.approx(1.0, abs=1e-3)
    result = call("--task", "retrieve", "--bundle", clap, "--data", tmp_path)
    assert result.exit_code == 0 and "skipped bbbbbbbbbbb_0" in result.stderr


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundles pengi and clapcap."""
    folder = tmp_path_factory.mktemp("prompted")
    for name, write in (("pengi", write_pengi), ("clapcap", write_clapcap)):
        write(folder / "weights" / name)
        source = prompted_source(folder / "weights" / name)
        assert source is not None
        convert_prompted(source, folder / name, prompted_provenance(source, name), lambda line: None)
    return folder


def test_answers_of_a_prompted_bundle(answering: Path, tmp_path: Path) -> None:
    data, output = folders.clotho_aqa_folder(tmp_path / "aqa"), tmp_path / "report"
    scores = measured(output, "--task", "aqa", "--bundle", answering / "pengi", "--data", data)
    assert scores["question_answering"]["count"] == 3 and scores["bundle"]["name"] == "pengi"
    model = Prompted(open_bundle(str(answering / "pengi")), EngineOptions(threads=1))
    for row in rows_of(output / "answers.csv"):
        told: list[Record] = []
        prompt, task = model.manifest.prompt_of(row["question"], "question")
        FileAsker(model, prompt, task, "here", PrivacyGate(), told.append).ask(data / "audio_files" / row["file"])
        # What the verb tells of each clip; the surest of them is the answer.
        answers = [record for record in told if isinstance(record, Answer)]
        assert row["answer"] == max(answers, key=lambda answer: answer.answers[0].log_likelihood or 0.0).answer


def test_a_bundle_that_takes_no_prompts_answers_no_questions(answering: Path, tmp_path: Path) -> None:
    data = folders.clotho_aqa_folder(tmp_path)
    error = call("--task", "aqa", "--bundle", answering / "clapcap", "--data", data).exception
    assert isinstance(error, UsageError) and "takes no prompts" in str(error)


def test_captions_of_a_prompted_bundle_are_compared(answering: Path, tmp_path: Path) -> None:
    data, output = folders.esc50_folder(tmp_path / "ESC-50"), tmp_path / "report"
    arguments = ("--task", "classify", "--bundle", answering / "pengi", "--data", data, "--fold", 2)
    scores = measured(output, *arguments)
    assert "text embedding of the caption" in scores["compared"]["what"]
    error = call(*arguments, "--compare", "audio").exception
    assert isinstance(error, UsageError) and "does not compare sounds with texts" in str(error)
