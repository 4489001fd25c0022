"""``edge-aac label`` as a user runs it: words of their own beside files, with bundles of windows and of clips."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.cli import main
from edge_aac.commands.label import each_with_its_flag
from edge_aac.engines.contract import EngineOptions
from edge_aac.models.clip_encoder import ClipEncoder
from edge_aac.records import Labels, parse_record
from tests.edge_aac.models.clip_bundles import RATE, write_clip_bundle
from tests.edge_aac.models.tiny_bundle import captioner_table, write
from tests.system.command import noise, records, run_edge_aac, write_wav

WORDS = ("rain", "a dog", "thunder", "birds sing")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def label(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the verb in this process: exit code, standard output, standard error."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["label", *map(str, arguments)])
        out, err = capsys.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return code or 0, out, err

    return run


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_clip_bundle(tmp_path_factory.mktemp("bundles") / "clap")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("sound") / "noise.wav", noise(2.5))


def _labels(out: str) -> list[Labels]:
    found = [parse_record(line) for line in out.splitlines()]
    assert all(isinstance(each, Labels) for each in found)
    return [each for each in found if isinstance(each, Labels)]


def test_as_a_user_calls_it(tmp_path: Path) -> None:
    """The shipped captioner knows texts and sounds: a dog of the demo is a dog, whatever else is offered."""
    path = write_wav(tmp_path / "noise.wav", noise(3))
    words = ("--labels", *WORDS, "--bundle", DEFAULT_BUNDLE, "--format", "json")
    done = run_edge_aac("label", path, *words)
    assert done.returncode == 0, done.stderr
    (found,) = records(done.stdout)
    assert found["schema"] == "edge-aac/labels/1" and found["source"] == str(path)
    assert {each["label"] for each in found["labels"]} == set(WORDS)
    assert sum(each["score"] for each in found["labels"]) == pytest.approx(1.0, abs=1e-5)
    assert found["model"]["bundle"] == DEFAULT_BUNDLE and found["windows"] == 1
    assert "--labels LABEL…" in run_edge_aac("label", "--help").stdout


def test_a_file_of_several_clips(label: Run, clips: str, sound: Path) -> None:
    code, out, _ = label(sound, "--labels", *WORDS, "--bundle", clips, "--format", "json")
    assert code == 0
    (found,) = _labels(out)
    assert (found.windows, found.start_s, found.end_s, found.pooled) == (3, 0.0, 2.5, "mean")
    assert found.template == "the sound of {}" and found.scoring == "softmax" and found.compared == len(WORDS)
    scores = [each.score for each in found.labels]
    assert scores == sorted(scores, reverse=True)
    code, out, _ = label(sound, "--labels", *WORDS, "--bundle", clips, "--format", "json", "--pool", "none")
    each = _labels(out)
    assert [(one.start_s, one.end_s) for one in each] == [(0.0, 1.0), (1.0, 2.0), (1.5, 2.5)]

    def similarity(record: Labels, wanted: str) -> float:
        return next(named.similarity for named in record.labels if named.label == wanted)

    for wanted in WORDS:
        parts = [similarity(one, wanted) for one in each]
        assert similarity(found, wanted) == pytest.approx(np.mean(parts), abs=1e-5)
    code, out, _ = label(sound, "--labels", *WORDS, "--bundle", clips, "--format", "json", "--pool", "max")
    (largest,) = _labels(out)
    for wanted in WORDS:
        assert similarity(largest, wanted) == pytest.approx(max(similarity(one, wanted) for one in each), abs=1e-5)


def test_scores(label: Run, clips: str, sound: Path) -> None:
    given = (sound, "--bundle", clips, "--format", "json", "--labels", *WORDS)
    (softmax,) = _labels(label(*given)[1])
    (cosine,) = _labels(label(*given, "--scores", "cosine")[1])
    (sigmoid,) = _labels(label(*given, "--scores", "sigmoid")[1])
    cosines = np.array([each.score for each in cosine.labels])
    powers = np.exp(20.0 * cosines)
    np.testing.assert_allclose([each.score for each in softmax.labels], powers / powers.sum(), atol=1e-4)
    odds = [np.log(each.score / (1 - each.score)) for each in sigmoid.labels if 1e-3 < each.score < 1 - 1e-3]
    kept = [each.similarity for each in sigmoid.labels if 1e-3 < each.score < 1 - 1e-3]
    assert len(kept) >= 2, "or nothing is compared"
    np.testing.assert_allclose(np.diff(odds), 20.0 * np.diff(kept), atol=0.02)
    (sharper,) = _labels(label(*given, "--scale", "100")[1])
    assert sharper.labels[0].score > softmax.labels[0].score
    assert softmax.labels[0].label == sharper.labels[0].label
    # A label alone is certain by softmax, and not so by sigmoid.
    alone = (*given[:5], "--labels", "rain")
    assert _labels(label(*alone)[1])[0].labels[0].score == 1.0


def test_tables_and_sentences(label: Run, clips: str, sound: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_bytes("\ufeffrain\r\n\r\n  a dog \nrain\n".encode())
    code, out, _ = label(sound, sound, "--labels-file", names, "--bundle", clips, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and len(rows) == 4
    assert {row["label"] for row in rows} == {"rain", "a dog"}
    assert [row["rank"] for row in rows] == ["1", "2", "1", "2"] and rows[0]["source"] == str(sound)
    code, out, _ = label(
        sound, "--labels", "rain, heavy", 'a "dog"', "--bundle", clips, "--format", "csv", "--top", "1"
    )
    assert code == 0 and len(list(csv.DictReader(io.StringIO(out)))) == 1
    code, out, _ = label(sound, "--labels", "rain", "a dog", "--bundle", clips, "--format", "text")
    assert out.startswith(str(sound)) and "rain 0." in out or "rain 1." in out


def test_templates(label: Run, clips: str, sound: Path) -> None:
    given = (sound, "--bundle", clips, "--format", "json", "--labels", *WORDS, "--scores", "cosine")
    (plain,), (other,) = _labels(label(*given)[1]), _labels(label(*given, "--template", "thunder rolls on {}")[1])
    assert other.template == "thunder rolls on {}"
    assert [each.similarity for each in plain.labels] != [each.similarity for each in other.labels]
    for template, words in (
        ("rain", "{} once"),
        ("{} {}", "{} once"),
        ("x" * 600 + "{}", "shorten"),
        ("\x07{}", "control"),
    ):
        code, out, err = label(*given, "--template", template)
        assert (code, out) == (2, "") and words in err and len(err.splitlines()) == 1


def test_of_several_templates_the_mean_counts(label: Run, clips: str, sound: Path) -> None:
    templates = ("the sound of {}", "thunder rolls on {}", "{} once")
    given = (sound, "--bundle", clips, "--format", "json", "--labels", *WORDS, "--scores", "cosine")
    words = [part for template in templates for part in ("--template", template)]
    (found,) = _labels(label(*given, *words)[1])
    assert found.templates == list(templates) and found.template == templates[0]
    encoder = ClipEncoder(open_bundle(clips), EngineOptions())
    heard = np.mean([part.embedding for part in encoder.hear(sound)], axis=0)
    # In one run, for this embedder hears the padding of a batch.
    texts = encoder.embed([template.replace("{}", word) for word in WORDS for template in templates])
    means = dict(zip(WORDS, texts.reshape(len(WORDS), len(templates), -1).mean(axis=1), strict=True))
    for named in found.labels:
        mean = means[named.label]
        assert named.similarity == pytest.approx(float(heard @ mean / np.linalg.norm(mean)), abs=1e-5)
    (once,) = _labels(label(*given, *words[:2], *words[:2])[1])
    assert once.templates is None and once.template == templates[0], "a template counts once"


def test_too_many_templates_are_refused(label: Run, clips: str, sound: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("".join(f"sound {number}\n" for number in range(10_000)), encoding="utf-8")
    given = (sound, "--bundle", clips, "--labels-file", names)
    for count, said in ((101, "101 templates are more than 100"), (41, "410000 texts, more than 400000")):
        words = [part for number in range(count) for part in ("--template", f"{number} {{}}")]
        code, out, err = label(*given, *words)
        assert (code, out) == (2, "") and said in err and len(err.splitlines()) == 1


def test_a_listed_sound_is_said_in_the_bundle_s_own_words(label: Run, sound: Path) -> None:
    """The shipped captioner lists its sounds; templates end that."""
    given = (sound, "--labels", "dog bark", "a blue whale sings", "--format", "json", "--scores", "cosine")
    (own,), (plain,) = _labels(label(*given)[1]), _labels(label(*given, "--template", "{}")[1])
    assert {each.label: each.sound for each in own.labels} == {"dog bark": "dog_bark", "a blue whale sings": None}
    assert {each.sound for each in plain.labels} == {None}
    table = csv.DictReader(io.StringIO(label(*given[:4], "--format", "csv")[1]))
    assert {row["label"]: row["sound"] for row in table} == {"dog bark": "dog_bark", "a blue whale sings": ""}
    before, after = ({each.label: each.similarity for each in found.labels} for found in (plain, own))
    assert before["a blue whale sings"] == pytest.approx(after["a blue whale sings"], abs=1e-4)
    assert abs(before["dog bark"] - after["dog bark"]) > 1e-3
    (worded,) = _labels(label(sound, "--labels", "a dog barks", "--format", "json", "--scores", "cosine")[1])
    assert worded.labels[0].similarity == pytest.approx(after["dog bark"], abs=1e-4), (
        "by its name or by a wording it is the same sound"
    )


def test_many_labels_are_embedded_once_each(
    label: Run, clips: str, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("".join(f"{WORDS[number % 4]} {number}\n" for number in range(10_000)), encoding="utf-8")
    embedded: list[int] = []
    run = ClipEncoder._texts_embedded

    def counted(self: ClipEncoder, texts: Any) -> Any:
        embedded.append(len(texts))
        return run(self, texts)

    monkeypatch.setattr(ClipEncoder, "_texts_embedded", counted)
    given = ("--labels-file", names, "--bundle", clips, "--format", "json", "--top", "3")
    code, out, _ = label(sound, sound, *given)
    assert code == 0 and len(_labels(out)) == 2
    assert [(len(one.labels), one.compared) for one in _labels(out)] == [(3, 10_000)] * 2
    # The trial's one text, all labels, and the neutral one.
    assert sum(embedded) == 1 + 10_000 + 1 and max(embedded) <= 64


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "no labels of its own"),
        (["--labels", " "], 2, "is empty"),
        (["--labels", "rain", "x" * 10_000], 2, "10000 characters, more than 200"),
        (["--labels", "a\nb"], 2, "control characters"),
        (["--labels", " ".join(["rain"] * 30)], 65, "34 tokens, this bundle reads 12"),
        (["--labels-file", "none.txt"], 66, "none.txt"),
        (["--labels", "rain", "--top", "0"], 2, "top"),
        (["--labels", "rain", "--scores", "odds"], 2, "odds"),
    ],
)
def test_unusable_labels(label: Run, clips: str, sound: Path, words: list[str], code: int, said: str) -> None:
    found, out, err = label(sound, "--bundle", clips, *words)
    assert (found, out) == (code, ""), err
    assert said in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no label"),
        (b"\n  \n", "holds no label"),
        (b"rain\nr\xe9gen\n", "line 2"),
        (b"a\n" + b"y" * 10_000, "line 2,"),
    ],
)
def test_unusable_files_of_labels(
    label: Run, clips: str, sound: Path, tmp_path: Path, content: bytes, said: str
) -> None:
    names = tmp_path / "names.txt"
    names.write_bytes(content)
    code, out, err = label(sound, "--bundle", clips, "--labels-file", names)
    assert (code, out) == (65, "") and said in err and len(err.splitlines()) == 1


def test_labels_in_other_scripts(label: Run, sound: Path, caplog: pytest.LogCaptureFixture) -> None:
    code, out, _ = label(sound, "--labels", "雨", "собака", "rain falls", "--format", "json")
    (found,) = _labels(out)
    assert code == 0 and {each.label for each in found.labels} == {"雨", "собака", "rain falls"}
    assert "'雨' and 1 more labels are in another script" in caplog.text


def test_clips_of_a_tenth_of_a_second_and_of_ten_minutes(label: Run, clips: str, tmp_path: Path) -> None:
    short = write_wav(tmp_path / "short.wav", noise(0.1))
    second = noise(60.0, seed=1)
    long = write_wav(tmp_path / "long.wav", np.tile(second, 10))
    code, out, _ = label(short, long, "--labels", *WORDS, "--bundle", clips, "--format", "json")
    first, last = _labels(out)
    assert code == 0
    assert (first.windows, first.end_s) == (1, 0.1)
    assert (last.windows, last.end_s) == (600, 600.0)


def test_channels_one_by_one(label: Run, clips: str, tmp_path: Path) -> None:
    stereo = np.stack([noise(1.5, seed=2), noise(1.5, seed=3)], axis=1)
    path = write_wav(tmp_path / "stereo.wav", stereo)
    given = ("--labels", *WORDS, "--bundle", clips, "--format", "json")
    (pooled,) = _labels(label(path, *given)[1])
    each = _labels(label(path, *given, "--pool", "none")[1])
    assert pooled.windows == 4 and pooled.channel is None
    assert [(one.start_s, one.channel) for one in each] == [(0.0, 1), (0.0, 2), (0.5, 1), (0.5, 2)]


def test_a_bad_file_among_good_ones(
    label: Run, clips: str, sound: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "text.wav").write_text("This is a text.\n" * 100)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(sound.read_bytes()[:60_000])
    bad = [tmp_path / "text.wav", tmp_path / "none.wav", cut]
    code, out, _ = label(*bad, sound, "--labels", *WORDS, "--bundle", clips, "--format", "json")
    assert code == 65, "that of the first"
    # What was there of the damaged one was heard.
    assert [one.source for one in _labels(out)] == [str(cut), str(sound)]
    for path in bad:
        assert path.name in caplog.text


def test_bundles_whose_texts_and_sounds_share_no_space(label: Run, sound: Path, tmp_path: Path) -> None:
    table = captioner_table(tmp_path)
    table["rerank"] = {"log_likelihood": 1.0, "similarity": 0.0}
    code, out, err = label(sound, "--labels", "rain", "--bundle", write(tmp_path, table))
    assert (code, out) == (65, "") and "does not compare texts with sounds" in err


def test_labels_and_template_of_the_bundle(label: Run, sound: Path, tmp_path: Path) -> None:
    name = write_clip_bundle(tmp_path / "own", labels=["rain", "thunder"], prompt="the {} falls")
    (found,) = _labels(label(sound, "--bundle", name, "--format", "json")[1])
    assert {each.label for each in found.labels} == {"rain", "thunder"} and found.template == "the {} falls"


def test_other_rates_are_resampled(label: Run, clips: str, tmp_path: Path) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 500 * np.arange(2 * 48_000) / 48_000).astype(np.float32)
    paths = [
        write_wav(tmp_path / "48k.wav", tone, 48_000),
        write_wav(tmp_path / "own.wav", tone[:: 48_000 // RATE], RATE),
    ]
    one, other = _labels(label(*paths, "--labels", *WORDS, "--bundle", clips, "--format", "json")[1])
    assert one.end_s == other.end_s == 2.0
    assert [each.label for each in one.labels] == [each.label for each in other.labels]


def test_words_of_the_command_line() -> None:
    assert each_with_its_flag(["a.wav", "--labels", "x", "y z", "--top", "3"]) == [
        *("a.wav", "--labels", "x", "--labels", "y z", "--top", "3")
    ]
    assert each_with_its_flag(["--labels=x", "a.wav"]) == ["--labels=x", "a.wav"]
    assert each_with_its_flag(["--labels", "x", "--", "a.wav"]) == ["--labels", "x", "--", "a.wav"]
    assert each_with_its_flag(["--labels"]) == ["--labels"]
