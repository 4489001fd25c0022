"""Windows with captions written by hand, and a tagger that hears what it is told."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from quantize.data.everyday.lexicon import english
from quantize.data.everyday.reading import read
from quantize.evaluation.everyday.truth import Collection, JudgedWindow, Kind, TeacherAnswer
from quantize.models.taggers import Tags

LEXICON = english()
DOG, CAT, RAIN, ANIMAL = "a dog barks", "a cat meows", "rain falls", "an animal makes a noise"
NOISE = "nothing but a faint hiss is heard"
UNKNOWN = "a sound that is hard to name"


def judged(
    kind: Kind,
    truth: str,
    caption: str,
    collection: Collection = "",
    confidences: Mapping[str, float] | None = None,
    answer: str | None = None,
    source: str = "a.wav",
    held_out: bool = True,
) -> JudgedWindow:
    """A window; ``truth`` is sounds of one moment with spaces, moments with bars; ``answer`` is a teacher's."""
    moments = tuple(tuple(moment.split()) for moment in truth.split("|")) if truth else ()
    teacher = None if answer is None else TeacherAnswer(answer or None, answer or None)
    return JudgedWindow(
        kind, source, moments, collection, (), held_out, caption, read(LEXICON, caption), 0.5, -1.0, 0.5,
        confidences=confidences, teacher=teacher,
    )  # fmt: skip


def some_judged() -> list[JudgedWindow]:
    """Some of each kind."""
    return [
        judged("single", "dog_bark", DOG, "ten", {"dog_bark": 0.95}, answer="dog_bark"),
        judged("single", "dog_bark", "a dog is heard", "ten", {"dog": 0.75}, answer="dog"),
        judged("single", "rain", f"{RAIN} and {CAT}", "ten", {"rain": 0.85, "cat": 0.35}, answer=""),
        judged("single", "cat", ANIMAL, "everyday", {"animal": 0.9}, answer="cat"),
        judged("single", "cat", NOISE, "everyday", {}, answer="dog_bark"),
        judged("single", "cat", UNKNOWN, "everyday", {}, answer="dog_bark"),
        judged("scene", "dog_bark rain", f"{DOG} while {RAIN}", "ten", {"dog_bark": 0.9, "rain": 0.9}),
        judged("scene", "dog_bark|rain", f"{RAIN} then {DOG}", "ten", {"dog_bark": 0.9, "rain": 0.9}),
        judged("scene", "dog_bark|rain", f"{DOG} then {RAIN}", "ten", {"dog_bark": 0.9, "rain": 0.9}),
        judged("scene", "cat rain", f"{ANIMAL} and {RAIN}", "everyday", {"animal": 0.8, "rain": 0.9}),
        judged("noise", "", NOISE, confidences={}),
        judged("noise", "", RAIN, confidences={"rain": 0.4}),
        judged("silence", "", NOISE, confidences={}),
        judged("hum", "", UNKNOWN, confidences={}),
        judged("handling", "", NOISE, confidences={}),
        judged("speech", "speech", "somebody speaks", confidences={"speech": 0.9}, source="sk+adam 0"),
        judged("speech", "speech", f"a woman speaks while {RAIN}", confidences={"woman_speech": 0.9, "rain": 0.3}),
        judged("absent", "cat", ANIMAL, "everyday", {"animal": 0.9}, answer="animal"),
        judged("absent", "cat", DOG, "everyday", {"dog_bark": 0.9}, answer="cat", held_out=False),
    ]  # fmt: skip


class FakeTagger:
    """Gives each class of AudioSet the probability that it is told, and all others almost none."""

    feature_size, classes = 4, 527

    def __init__(self, probabilities: Mapping[str, float]) -> None:
        self.lengths: list[int] = []
        numbers = {node.name: number for number, node in enumerate(LEXICON.ontology.classes)}
        given = torch.full((self.classes,), 1e-6)
        for name, probability in probabilities.items():
            given[numbers[name]] = probability
        self._logits = torch.logit(given)[None]

    def tag(self, waveforms: Tensor) -> Tags:
        self.lengths.append(waveforms.shape[1])
        return Tags(torch.zeros(1, 1, self.feature_size), self._logits[:, None], self._logits, 0.32)

    def classify(self, features: Tensor) -> Tensor:
        return self._logits.expand(*features.shape[:-1], self.classes)
