"""Captions against reference captions: BLEU, ROUGE-L, METEOR, CIDEr-D, SPICE of ``pycocoevalcap``, sentence similarity.

What ``pycocoevalcap`` calls CIDEr is CIDEr-D (https://arxiv.org/abs/1411.5726, section 6): counts clipped to the
reference's, a Gaussian penalty (σ = 6) on the difference of lengths, times ten; the words are not stemmed, and a length
is the number of bigrams. Its document frequencies come from the references it is given, so values of different sets of
references cannot be compared. Texts are split at spaces, not by the Penn Treebank tokenizer that needs Java.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge_aac.errors import DataError, DeviceError
from edge_aac.fluency.english.sentences import fluency_errors

TOKENISATION = "lower case, without punctuation, split at spaces (not the PTB tokenizer)"
FLUENCY_PENALTY = 0.9
"""Of the similarity, what FENSE takes away where its detector finds an error (https://arxiv.org/abs/2110.04684)."""

NO_FENSE = (
    "needs the error detector that its authors trained; similarity_with_fluency_penalty has FENSE's formula, but the "
    "fluency check of edge-aac and the embedder that you named, and must not be compared with published values"
)
NO_EMBEDDER = "no --sentence-embedder was given"
INSTALL = "pip install 'edge-aac[evaluate]'"

Texts = dict[int, list[str]]


class SentenceEmbedder(Protocol):
    """Anything that embeds sentences."""

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(N, dim), of unit length."""
        ...


def normalised(text: str) -> str:
    """Lower case, nothing but letters, digits and apostrophes within words, single spaces."""
    return " ".join(re.findall(r"\w+(?:'\w+)*", text.lower().replace("’", "'")))


def caption_metrics(
    captions: Sequence[str],
    references: Sequence[Sequence[str]],
    embedder: SentenceEmbedder | None = None,
    spice: bool = False,
) -> dict[str, Any]:
    """Score captions against their references.

    Args:
        captions: one each; an empty one scores 0.
        references: at least one each, with words in it.
        embedder: for the sentence similarity; None leaves it out.
        spice: ask for SPICE, which takes minutes and 8 GB, and for SPIDEr.

    Returns:
        ``scores``: name → value; BLEU, ROUGE-L, METEOR, SPICE, similarity in 0..1, CIDEr-D in 0..10. ``left_out``:
        name → why it was not computed.

    Raises:
        DataError: there is nothing to score, or a caption has no reference.
        DeviceError: ``pycocoevalcap`` is not installed.
    """
    generated, true = _texts(captions, references)
    scores = _plain_scores(generated, true)
    left_out: dict[str, str] = {"fense": NO_FENSE}
    _add_or_note_why("meteor", lambda: _meteor(generated, true), scores, left_out)
    if spice:
        _add_or_note_why("spice", lambda: _spice(generated, true), scores, left_out)
    else:
        left_out["spice"] = "not asked for (--spice)"
    if "spice" in scores:
        # https://arxiv.org/abs/1612.00370: the mean of the two.
        scores["spider"] = (scores["spice"] + scores["cider_d"]) / 2.0
    else:
        left_out["spider"] = "needs SPICE"
    faulty = np.array([bool(fluency_errors(row[0])) for row in generated.values()])
    scores["rejected_by_fluency_check"] = float(faulty.mean())
    if embedder is None:
        left_out["sentence_similarity"] = NO_EMBEDDER
    else:
        similarity = sentence_similarity(embedder, [row[0] for row in generated.values()], list(true.values()))
        scores["sentence_similarity"] = float(similarity.mean())
        scores["similarity_with_fluency_penalty"] = float((similarity * (1.0 - FLUENCY_PENALTY * faulty)).mean())
    return {
        "count": len(generated),
        "references": sum(len(row) for row in true.values()),
        "tokenisation": TOKENISATION,
        "scores": {name: round(value, 4) for name, value in scores.items()},
        "left_out": left_out,
    }


def sentence_similarity(
    embedder: SentenceEmbedder, captions: Sequence[str], references: Sequence[Sequence[str]]
) -> npt.NDArray[np.float64]:
    """Mean cosine of each caption with its references: (N,). Each distinct text is embedded once."""
    texts = sorted({*captions, *(text for row in references for text in row)})
    place = {text: index for index, text in enumerate(texts)}
    vectors = embedder.embed(texts).astype(np.float64)
    return np.array(
        [
            (vectors[[place[text] for text in row]] @ vectors[place[caption]]).mean()
            for caption, row in zip(captions, references, strict=True)
        ]
    )


def check_installed() -> None:
    """Raise DeviceError where ``pycocoevalcap`` is not installed: before the hours of captioning, not after them."""
    if find_spec("pycocoevalcap") is None:
        raise DeviceError(f"caption metrics need the package 'pycocoevalcap', which is not installed: {INSTALL}")


def _texts(captions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[Texts, Texts]:
    if not captions or len(captions) != len(references):
        raise DataError(f"{len(captions)} captions and {len(references)} lists of references: give one list to each")
    generated = {number: [normalised(caption)] for number, caption in enumerate(captions)}
    true = {number: [text for text in map(normalised, row) if text] for number, row in enumerate(references)}
    if bare := [number for number, row in true.items() if not row]:
        raise DataError(f"caption {bare[0]} ({captions[bare[0]]!r}) has no reference with words in it: leave it out")
    return generated, true


def _plain_scores(generated: Texts, true: Texts) -> dict[str, float]:
    """Those that are pure Python. Only their own modules are imported: the package's first one needs pycocotools."""
    check_installed()
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    bleu, _ = Bleu(4).compute_score(true, generated, verbose=0)
    scores = {f"bleu_{number}": float(value) for number, value in enumerate(bleu, 1)}
    scores["rouge_l"] = float(Rouge().compute_score(true, generated)[0])
    scores["cider_d"] = float(Cider().compute_score(true, generated)[0])
    return scores


class _LeftOut(Exception):
    """Why a metric cannot be computed here."""


def _add_or_note_why(
    name: str, compute: Callable[[], float], scores: dict[str, float], left_out: dict[str, str]
) -> None:
    try:
        scores[name] = compute()
    except _LeftOut as reason:
        left_out[name] = str(reason)


def _meteor(generated: Texts, true: Texts) -> float:
    if shutil.which("java") is None:
        raise _LeftOut("java is not installed")
    from pycocoevalcap.meteor.meteor import Meteor

    meteor = Meteor()
    try:
        return float(meteor.compute_score(true, generated)[0])
    except (OSError, ValueError) as error:
        # It keeps its lock when java ends early, and its __del__ would wait for that lock for ever.
        if meteor.lock.locked():
            meteor.lock.release()
        raise _LeftOut("java could not run METEOR 1.5; try `java -version`") from error


def _spice(generated: Texts, true: Texts) -> float:
    spec = find_spec("pycocoevalcap.spice")
    folder = Path((spec.submodule_search_locations or ["."])[0] if spec else ".") / "lib"
    models = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
    # The package would fetch them by itself, over plain http.
    if missing := [name for name in models if not (folder / name).is_file()]:
        raise _LeftOut(f"{' and '.join(missing)} of Stanford CoreNLP 3.6.0 are not in pycocoevalcap/spice/lib")
    if shutil.which("java") is None:
        raise _LeftOut("java is not installed")
    from subprocess import CalledProcessError

    from pycocoevalcap.spice.spice import Spice

    try:
        with redirect_stdout(StringIO()):
            return float(Spice().compute_score(true, generated)[0])
    except (OSError, ValueError, CalledProcessError) as error:
        raise _LeftOut(f"java could not run SPICE ({type(error).__name__}); it was written for Java 8") from error
