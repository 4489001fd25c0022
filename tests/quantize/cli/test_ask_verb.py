"""`edge-aac ask` by the command line, on small models that `edge-aac convert` made a bundle of."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.cli import main
from edge_aac.engines.contract import EngineOptions
from edge_aac.models.prompted import Answer, Prompted
from tests.made_once import made_once
from tests.quantize.models.audio_language_layout import CLIP_SAMPLES, RATE, write_clapcap, write_pengi
from tests.system.command import FILE_TIMES, noise, records, run_edge_aac, write_wav

CLIP_S = CLIP_SAMPLES / RATE
ANSWER_FIELDS = {"schema", "node", "source", "answer", "answers", "model", "latency_ms", "prompt"}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundles pengi and clapcap, made by the verb."""
    return made_once(tmp_path_factory, "ask", _convert_both)


def _convert_both(folder: Path) -> None:
    for name, write in (("pengi", write_pengi), ("clapcap", write_clapcap)):
        write(folder / "weights" / name)
        out, err = io.StringIO(), io.StringIO()
        # In this process: one of its own would import torch and its kin for seconds, as test_convert.py has it do.
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main(["convert", str(folder / "weights" / name), "--output", str(folder / name)])
        told = err.getvalue()
        assert (ended.value.code or 0, out.getvalue()) == (0, ""), told
        assert [line.partition(":")[0] for line in told.splitlines()[-3:-1]] == ["decoder", "answers"], told


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "noise.wav", noise(0.04))


def _asked(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, list[dict[str, Any]], list[str]]:
    """Exit code, records, and lines on standard error of the verb, in this process."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["ask", *map(str, words), "--format", "json"])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return int(ended.value.code or 0), records(printed.out), printed.err.splitlines()


@pytest.fixture(autouse=True)
def _nobodys_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")
    monkeypatch.delenv("EDGE_AAC_BUNDLE", raising=False)


def test_a_question_by_the_installed_command(bundles: Path, sound: Path) -> None:
    done = run_edge_aac("ask", sound, "is a baby crying?", "--bundle", bundles / "pengi", "--beams", "2")
    assert done.returncode == 0, done.stderr
    (record,) = records(done.stdout)
    assert set(record) == ANSWER_FIELDS | FILE_TIMES | {"task"}
    assert (record["schema"], record["source"]) == ("edge-aac/answer/1", str(sound))
    assert (record["prompt"], record["task"]) == ("question: is a baby crying?", "question")
    assert (record["start_s"], record["end_s"]) == (0.0, 0.04)
    assert record["model"]["bundle"] == "pengi"
    texts, scores = zip(*((one["text"], one["log_likelihood"]) for one in record["answers"]), strict=True)
    assert record["answer"] == texts[0]
    assert len(texts) == 2 and list(scores) == sorted(scores, reverse=True)
    text = run_edge_aac("ask", sound, "--task", "event", "--bundle", bundles / "pengi", "--format", "text")
    assert text.returncode == 0, text.stderr
    (line,) = text.stdout.splitlines()
    assert line.startswith(f"{sound}      0.0 s -    0.0 s  ")


@pytest.mark.parametrize("task", ["caption", "metadata", "event", "scene", "emotion", "sentiment", "music"])
def test_every_task_by_name(bundles: Path, sound: Path, capsys: pytest.CaptureFixture[str], task: str) -> None:
    table = json.loads((bundles / "pengi" / "manifest.json").read_text(encoding="utf-8"))
    code, (record,), _ = _asked(capsys, sound, "--task", task, "--bundle", bundles / "pengi", "--max-length", 4)
    assert code == 0
    assert (record["task"], record["prompt"]) == (task, table["prompts"][task])


def test_without_words_a_caption_is_written(bundles: Path, sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, (record,), _ = _asked(capsys, sound, "--bundle", bundles / "pengi", "--max-length", 4)
    assert (record["task"], record["prompt"]) == ("caption", "generate audio caption")
    code, (record,), _ = _asked(capsys, sound, "--bundle", bundles / "clapcap", "--max-length", 4)
    assert code == 0
    assert not {"task", "prompt"} & set(record)


@pytest.mark.parametrize(
    "prompt",
    [
        "\u8d64\u3061\u3083\u3093\u304c\u6ce3\u3044\u3066\u3044\u307e\u3059\u304b\uff1f",
        "\u0647\u0644 \u064a\u0628\u0643\u064a \u0637\u0641\u0644\u061f",
        "\U0001f436\u200d\u2744\ufe0f !!! {} \\n",
        "tell me a story",
        "bytes that are no text: \udcff\udc80",
    ],
)
def test_prompts_in_other_scripts_and_that_are_no_questions(
    bundles: Path, sound: Path, capsys: pytest.CaptureFixture[str], prompt: str
) -> None:
    code, (record,), _ = _asked(capsys, sound, prompt, "--bundle", bundles / "pengi", "--beams", 1, "--max-length", 5)
    assert code == 0
    readable = prompt.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    asks = readable.endswith(("\uff1f", "\u061f"))
    assert record["prompt"] == (f"question: {readable}" if asks else readable)


def test_a_prompt_longer_than_the_bundle_reads(
    bundles: Path, sound: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    long = " ".join(["word"] * 50)
    code, (record,), _ = _asked(capsys, sound, long, "--bundle", bundles / "pengi", "--max-length", 4)
    assert (code, record["prompt"]) == (0, long)
    (line,) = [line.getMessage() for line in caplog.records if line.levelname == "WARNING"]
    assert line == "the prompt is longer than the bundle reads: its end is not heard"


@pytest.mark.parametrize(
    ("words", "code", "match"),
    [
        ([""], 2, "the prompt is empty"),
        (["  \n "], 2, "the prompt is empty"),
        (["x" * 10_000], 2, "has 10000 characters, more than 500"),
        (["--task", "sing"], 2, "has no task 'sing'"),
        (["--task", "question"], 2, "takes words"),
        (["is it rain?", "--task", "event"], 2, "takes no words"),
        (["--max-length", "90"], 78, "give a smaller max_length"),
        (["--bundle", DEFAULT_BUNDLE], 65, "one of the kind 'prompted' is needed"),
        (["--bundle", "nobody's"], 66, "no bundle"),
        (["--backend", "tensorrt"], 69, "TensorRT"),
    ],
)
def test_what_cannot_be_asked(
    bundles: Path, sound: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, match: str
) -> None:
    given = words if "--bundle" in words else [*words, "--bundle", bundles / "pengi"]
    ended, found, errors = _asked(capsys, sound, *given)
    assert (ended, found) == (code, [])
    (line,) = errors
    assert match in line


def test_files_that_cannot_be_asked_about(bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = write_wav(tmp_path / "empty.wav", noise(0))
    text = tmp_path / "text.wav"
    text.write_text("no sound at all " * 40, encoding="utf-8")
    for file, code in ((empty, 65), (text, 65), (tmp_path, 66), (tmp_path / "nobody.wav", 66), ("/dev/null", 65)):
        ended, found, errors = _asked(capsys, file, "--bundle", bundles / "pengi")
        assert (ended, found, len(errors)) == (code, [], 1), errors


def test_a_prompt_for_a_bundle_that_takes_none(bundles: Path, sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, (line,) = _asked(capsys, sound, "is it rain?", "--bundle", bundles / "clapcap")
    assert code == 2
    assert "takes no prompts" in line


def test_a_tenth_of_a_second_and_ten_minutes(bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """These bundles hear clips of 0.05 s, so that a second stands for more than two minutes of a published one's."""
    limits = ("--bundle", bundles / "pengi", "--beams", 1, "--max-length", 2)
    short = write_wav(tmp_path / "short.wav", noise(0.01))
    code, (record,), _ = _asked(capsys, short, *limits)
    assert (code, record["start_s"], record["end_s"]) == (0, 0.0, 0.01)
    long = write_wav(tmp_path / "long.wav", noise(5.02))
    code, found, _ = _asked(capsys, long, *limits)
    assert code == 0
    starts = [record["start_s"] for record in found]
    # One behind the other; what is left over, below 0.1 s, is in none.
    np.testing.assert_allclose(starts, np.arange(100) * CLIP_S, atol=1e-3)
    assert found[-1]["end_s"] == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("name", "prompt", "said"),
    [
        ("pengi", " ", "a prompt is empty"),
        ("pengi", "x" * 10_000, "at most 500 characters, but it has 10000"),
        ("clapcap", "is it rain?", "nothing that encodes them"),
    ],
)
def test_prompts_that_no_stream_takes(
    bundles: Path, sound: Path, capsys: pytest.CaptureFixture[str], name: str, prompt: str, said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["stream", "--device", f"file:{sound}", "--bundle", str(bundles / name), "--prompt", prompt])
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (78, "") and said in printed.err
    assert len(printed.err.splitlines()) == 1 and len(printed.err) < 600


def test_a_stream_s_prompt_in_another_script_that_is_no_question(bundles: Path, tmp_path: Path) -> None:
    short = write_wav(tmp_path / "short.wav", noise(0.1))
    prompt = "\u0440\u0430\u0441\u0441\u043a\u0430\u0436\u0438 \u96e8 \U0001f436!"
    words = ("--bundle", bundles / "pengi", "--prompt", prompt, "--every-window")
    done = run_edge_aac("stream", "--device", f"file:{short}", *words)
    assert done.returncode == 0, done.stderr
    captions = [record for record in records(done.stdout) if record["schema"].startswith("edge-aac/caption/")]
    assert [record["end_s"] for record in captions] == [0.1]


def test_answers_that_tell_of_speech_are_marked_or_withheld(
    bundles: Path, sound: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Prompted.answer

    def tells_of_speech(self: Prompted, *given: Any) -> Answer:
        found = answer(self, *given)
        return replace(found, texts=("a man speaks ",) * len(found.texts))

    monkeypatch.setattr(Prompted, "answer", tells_of_speech)
    limits = (sound, "--bundle", bundles / "pengi", "--max-length", 3)
    _, (plain,), _ = _asked(capsys, *limits)
    assert plain["answer"] == "a man speaks" and "speech" not in plain
    _, (marked,), _ = _asked(capsys, *limits, "--speech", "mark")
    assert marked["speech"] is True
    for rule in (("--speech", "suppress"), ("--suppress", "man")):
        code, found, _ = _asked(capsys, *limits, *rule)
        assert (code, found) == (0, [])


def test_an_answer_tells_what_its_question_says(bundles: Path, sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As on a stream: "yes" to "is a man speaking?" tells of speech."""
    limits = (sound, "is a man speaking?", "--bundle", bundles / "pengi", "--max-length", 3)
    _, (marked,), _ = _asked(capsys, *limits, "--speech", "mark")
    assert marked["speech"] is True
    for rule in (("--speech", "suppress"), ("--suppress", "man")):
        assert _asked(capsys, *limits, *rule)[:2] == (0, [])


def test_a_stream_is_asked_in_every_window_or_with_every_event(bundles: Path, tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "long.wav", noise(14.0))
    limits = ("--bundle", bundles / "pengi", "--max-length", "4", "--format", "json", "--hop", "2")
    asks = ("--ask", "is it rain?", "--ask", "event")
    done = run_edge_aac("stream", "--device", f"file:{sound}", *limits, *asks, "--ask-every", "window")
    assert done.returncode == 0, done.stderr
    answers = [record for record in records(done.stdout) if record["schema"] == "edge-aac/answer/1"]
    assert [(one["task"], one["start_s"]) for one in answers] == [
        (task, start_s) for start_s in (0.0, 2.0, 4.0) for task in ("question", "event")
    ]
    assert set(answers[0]) == ANSWER_FIELDS | FILE_TIMES | {"task"}
    assert answers[0]["prompt"] == "question: is it rain?" and answers[0]["end_s"] == 10.0
    done = run_edge_aac("stream", "--device", f"file:{sound}", *limits, *asks, "--events")
    assert done.returncode == 0, done.stderr
    found = records(done.stdout)
    started = [one["event"] for one in found if one["schema"] == "edge-aac/event/1" and one["state"] == "start"]
    asked = [one["event"] for one in found if one["schema"] == "edge-aac/answer/1"]
    assert started and asked[::2] == asked[1::2] and set(asked) <= set(started)


@pytest.mark.parametrize(
    ("bundle", "words", "match"),
    [("clapcap", "is it rain?", "takes no prompts"), ("pengi", " ", "the prompt is empty")],
)
def test_what_a_stream_cannot_be_asked(bundles: Path, sound: Path, bundle: str, words: str, match: str) -> None:
    for asked in (("--bundle", bundles / bundle), ("--ask-bundle", bundles / bundle)):
        done = run_edge_aac("stream", "--device", f"file:{sound}", *asked, "--ask", words)
        assert (done.returncode, done.stdout) == (78, "") and match in done.stderr


def test_a_captioner_answers_nothing(sound: Path) -> None:
    done = run_edge_aac("stream", "--device", f"file:{sound}", "--ask", "is it rain?", "--ask-bundle", DEFAULT_BUNDLE)
    assert (done.returncode, done.stdout) == (65, "") and "'prompted' is needed" in done.stderr
    assert done.stderr.startswith("edge-aac: ask_bundle: bundle"), "the captioner's bundle is of the same name"
    assert done.stderr.endswith("such as everyday-ask\n")


def test_one_bundle_captions_and_another_answers(bundles: Path, tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "long.wav", noise(14.0))
    words = ("--format", "json", "--hop", "2", "--ask", "is it rain?", "--ask-bundle", bundles / "pengi")
    plain = run_edge_aac("stream", "--device", f"file:{sound}", "--every-window", *words[:4])
    done = run_edge_aac("stream", "--device", f"file:{sound}", "--every-window", *words, "--ask-every", "window")
    assert done.returncode == 0, done.stderr
    found = records(done.stdout)
    captions, answers = (
        [record for record in found if record["schema"] == f"edge-aac/{kind}/1"] for kind in ("caption", "answer")
    )
    assert [(one["start_s"], one["caption"]) for one in captions] == [
        (one["start_s"], one["caption"]) for one in records(plain.stdout)
    ], "the captions are those of a stream that is asked nothing"
    assert {one["model"]["bundle"] for one in captions} == {DEFAULT_BUNDLE}
    assert {one["model"]["bundle"] for one in answers} == {"pengi"}
    assert [one["start_s"] for one in answers] == [one["start_s"] for one in captions] == [0.0, 2.0, 4.0]
    # Of a window its newest clip is heard, at 16 kHz: so `ask` hears a file of that rate that ends there.
    alone = write_wav(tmp_path / "newest.wav", noise(14.0)[-round(16_000 * CLIP_S) :])
    asked = run_edge_aac("ask", alone, "is it rain?", "--bundle", bundles / "pengi", "--format", "json")
    assert records(asked.stdout)[0]["answer"] == answers[-1]["answer"]


def test_questions_of_a_stream_that_the_bundle_cuts_are_told_when_it_is_opened(
    bundles: Path, caplog: pytest.LogCaptureFixture
) -> None:
    long = " ".join(["word"] * 50)
    Prompted(open_bundle(str(bundles / "pengi")), EngineOptions(threads=1), {"ask": ("hm", long)})
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == f"a question is longer than the bundle reads, its end is not heard: {long}"


def test_channels_of_longer_sound_are_asked_one_by_one(
    bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = ("--bundle", bundles / "pengi", "--beams", 2, "--max-length", 6)
    left, right = (np.random.default_rng(seed).normal(0.0, 0.1, 4 * CLIP_SAMPLES) for seed in (0, 1))
    files = {
        "left": write_wav(tmp_path / "left.wav", left, RATE),
        "right": write_wav(tmp_path / "right.wav", right, RATE),
        "both": write_wav(tmp_path / "both.wav", np.stack([left, right], axis=1), RATE),
    }
    found = {name: _asked(capsys, file, *limits)[1] for name, file in files.items()}
    assert len(found["both"]) == len(found["left"]) == 4
    for both, one, other in zip(found["both"], found["left"], found["right"], strict=True):
        answers = [record["answers"] for record in (one, other)]
        assert both["answers"] in answers
        assert both["answers"][0]["log_likelihood"] == max(each[0]["log_likelihood"] for each in answers)
