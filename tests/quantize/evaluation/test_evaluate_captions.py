"""Caption metrics through ``pycocoevalcap``, against values worked out by hand, and what is left out with a reason."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("pycocoevalcap.bleu.bleu", reason="caption metrics need pip install 'edge-aac[evaluate]'")

from edge_aac.errors import DataError, DeviceError
from quantize.evaluation import caption_metrics as module
from quantize.evaluation.caption_metrics import caption_metrics, normalised, sentence_similarity

FIRST = "a dog barks twice in the distance"
SECOND = "rain falls on the roof of a car"


@pytest.fixture(autouse=True)
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty PATH: METEOR's Java takes seconds to start. Tests put their own ``java`` there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


class Letters:
    """Embeds a text as how often it has each letter."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.seen += texts
        counts = np.array([[text.count(chr(97 + i)) for i in range(26)] for text in texts], dtype=np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def test_identical_captions_have_the_highest_scores() -> None:
    scores = caption_metrics([FIRST, SECOND], [[FIRST], [SECOND]], Letters())["scores"]
    assert [scores[f"bleu_{n}"] for n in (1, 2, 3, 4)] == pytest.approx([1.0] * 4, abs=1e-3)
    assert scores["rouge_l"] == 1.0
    assert scores["cider_d"] == pytest.approx(10.0)
    assert scores["sentence_similarity"] == pytest.approx(1.0, abs=1e-4)


def test_captions_without_a_common_word_have_none() -> None:
    captions = ["waves crash loudly", "somebody sneezes once"]
    scores = caption_metrics(captions, [["a dog barks"], ["rain falls down"]])["scores"]
    for name in ("bleu_1", "bleu_4", "rouge_l", "cider_d"):
        assert scores[name] == pytest.approx(0.0, abs=1e-3)


def test_bleu_and_rouge_as_worked_out_by_hand() -> None:
    # Unigrams 3 of 4 match, bigrams 2 of 3; 4 words against 5: brevity penalty exp(1 - 5/4).
    scores = caption_metrics(["a dog barks loudly"], [["a dog barks at night"]])["scores"]
    penalty = math.exp(1 - 5 / 4)
    assert scores["bleu_1"] == pytest.approx(penalty * 3 / 4, abs=1e-4)
    assert scores["bleu_2"] == pytest.approx(penalty * math.sqrt(3 / 4 * 2 / 3), abs=1e-4)
    # Longest common subsequence 3: P = 3/4, R = 3/5, beta = 1.2.
    assert scores["rouge_l"] == pytest.approx((1 + 1.44) * 0.75 * 0.6 / (0.6 + 1.44 * 0.75), abs=1e-4)


def test_cider_is_cider_d() -> None:
    """A repeated word gains nothing (clipping) and a longer caption loses (Gaussian penalty): plain CIDEr does neither.

    Of two captions, each n-gram of a reference has the inverse document frequency ln 2, so all weights are equal. The
    caption says its reference "rain falls" twice with one word of no reference between.
    """
    captions, references = ["rain falls x rain falls", "a dog barks now"], [["rain falls"], ["a dog barks now"]]
    # Unigrams: clipped product 2·1·1, norms sqrt(4 + 4 + 1) and sqrt(2). Bigrams: 1, sqrt(4 + 1 + 1) and 1.
    cosines = 2 / (math.sqrt(9) * math.sqrt(2)) + 1 / math.sqrt(6)
    first = 10 / 4 * cosines * math.exp(-((4 - 1) ** 2) / (2 * 6.0**2))
    assert caption_metrics(captions, references)["scores"]["cider_d"] == pytest.approx((first + 10) / 2, abs=1e-3)


def test_texts_are_compared_without_case_and_punctuation() -> None:
    assert normalised("A dog's bark,  twice -- then SILENCE.") == "a dog's bark twice then silence"
    assert caption_metrics([FIRST], [["A dog barks twice, in the distance!"]])["scores"]["rouge_l"] == 1.0


def test_an_empty_caption_scores_nothing() -> None:
    scores = caption_metrics(["", FIRST], [[SECOND], [FIRST]])["scores"]
    assert scores["rouge_l"] == 0.5


@pytest.mark.parametrize(
    ("captions", "references", "words"),
    [([], [], "0 captions"), ([FIRST], [], "one list"), ([FIRST], [["..."]], "no reference")],
)
def test_nothing_to_compare_with_is_refused(captions: list[str], references: list[list[str]], words: str) -> None:
    with pytest.raises(DataError, match=words):
        caption_metrics(captions, references)


def test_similarity_is_the_mean_over_references_and_embeds_each_text_once() -> None:
    letters = Letters()
    similarity = sentence_similarity(letters, ["ab", "cd"], [["ab", "cd"], ["cd"]])
    assert similarity == pytest.approx([0.5, 1.0])
    assert sorted(letters.seen) == ["ab", "cd"]


def test_the_fluency_penalty_takes_nine_tenths() -> None:
    faulty = "a dog barks and"
    scores = caption_metrics([faulty, FIRST], [[faulty], [FIRST]], Letters())["scores"]
    assert scores["rejected_by_fluency_check"] == 0.5
    assert scores["similarity_with_fluency_penalty"] == pytest.approx((0.1 + 1.0) / 2, abs=1e-3)


def test_what_is_left_out_says_why() -> None:
    table = caption_metrics([FIRST], [[FIRST]])
    assert "java is not installed" in table["left_out"]["meteor"]
    assert "--spice" in table["left_out"]["spice"]
    assert "--sentence-embedder" in table["left_out"]["sentence_similarity"]
    assert {"spider", "fense"} <= table["left_out"].keys()
    assert not table["left_out"].keys() & table["scores"].keys()


def test_spice_is_never_downloaded() -> None:
    """The package's own way is to fetch 400 MB; here the missing files are named."""
    table = caption_metrics([FIRST], [[FIRST]], spice=True)
    assert "stanford-corenlp-3.6.0" in table["left_out"]["spice"] or "java" in table["left_out"]["spice"]
    assert "spider" in table["left_out"]


def test_a_java_that_does_not_run_leaves_meteor_out(no_java: Path) -> None:
    """Without hanging: the wrapper's own ``__del__`` waits for a lock that its failure keeps."""
    _fake_java(no_java, "raise SystemExit(1)")
    assert "METEOR" in caption_metrics([FIRST], [[FIRST]])["left_out"]["meteor"]


def test_meteor_is_what_java_answers(no_java: Path) -> None:
    """A stand-in that speaks METEOR's protocol: a line of statistics for each caption, then scores and their total."""
    lines = [
        "import sys",
        "for line in sys.stdin:",
        "    kind, *parts = line.rstrip('\\n').split(' ||| ')",
        "    if kind == 'SCORE': print(parts[-1].replace(' ', '_'), flush=True)",
        "    else: print('\\n'.join(['0.25'] * len(parts) + ['0.75']), flush=True)",
    ]
    _fake_java(no_java, "\n".join(lines))
    table = caption_metrics([FIRST, SECOND], [[FIRST, SECOND], [SECOND]])
    assert table["scores"]["meteor"] == 0.75
    assert "meteor" not in table["left_out"]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"pip install 'edge-aac\[evaluate\]'"):
        caption_metrics([FIRST], [[FIRST]])


def _fake_java(folder: Path, script: str) -> None:
    java = folder / "java"
    java.write_text(f"#!{sys.executable}\n{script}\n", encoding="utf-8")
    os.chmod(java, 0o755)
