"""Models that answer prompts ("prompted") as a build sees them: Pengi, clapcap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edge_aac.bundle.manifest import Graph, GraphRole
from edge_aac.bundle.store import Bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import Arrays, Engine, EngineOptions
from edge_aac.errors import DataError
from edge_aac.models.graph_contracts import WAVEFORM
from edge_aac.models.prefix_search import PrefixDecoder
from edge_aac.models.prompt_texts import PromptText
from edge_aac.models.prompted import Prompted
from edge_aac.models.prompted_manifest import PROMPT_ENCODER, PromptedManifest, SearchRules
from edge_aac.models.tokens import load_tokenizer
from quantize.device.check_clips import scene_clips
from quantize.device.checked_kind import Sound
from quantize.device.gate import Agreement, CheckOutputs, lowest_cosine, relative_difference
from quantize.device.profiles import Profiles, profiles_of
from quantize.device.timing import RecordingEngine, RunSamples, single_runs
from quantize.graphs.calibration_windows import recorded_clips
from quantize.graphs.sound_inputs import ClipInputs, HeardInputs

Array = npt.NDArray[np.float32]

SCENES = 8
"""Made-up scenes that forms are compared on, each with each prompt."""
MAX_FED = 24
"""Tokens of an answer along which a decoder is compared."""
TIMED_STEPS, SAMPLED_STEPS = 8, 4
"""Steps behind a prefix that a decoder is timed by, and that its numbers are compared at."""
MIN_LARGEST_BEAMS = 8
"""Beams that a decoder's plan is built for at least, whatever the bundle's default is."""
_QUESTION = "question: is a dog barking, or is it the rain that falls on the roof of a house?"


class AnswerAgreement(Agreement):
    """As its base; cosines are those of the prefix's parts, too, and ``captions_equal`` is the share of positions in
    answers at which the likeliest token is the same."""

    equal_of: ClassVar[str] = "the likeliest tokens"


@dataclass(frozen=True)
class CheckAnswers:
    """What a bundle computes of the check clips and prompts, decoding along given answers.

    Attributes:
        answers: for each prompt the token ids of one answer a clip, those of the exported graphs.
        audio: (N, E) audio embeddings.
        sound: (N, P · D) the sounds' part of the prefix.
        prompts: (Q, R · D) the prompts' part of it; of no length where the bundle takes none.
        tokens: (T,) the likeliest token at every position of every answer.
        log_likelihood: mean of the answers' tokens.
    """

    answers: Sequence[Sequence[Sequence[int]]]
    audio: Array
    sound: Array
    prompts: Array
    tokens: npt.NDArray[np.int64]
    log_likelihood: float

    def compared(self, form: CheckAnswers) -> AnswerAgreement:
        """See :class:`quantize.device.gate.CheckOutputs`.

        Raises:
            DataError: prefix or embedding have other sizes.
        """
        mine, others = ((each.audio, each.sound, each.prompts) for each in (self, form))
        if [part.shape for part in mine] != [part.shape for part in others]:
            raise DataError("a form gives another prefix or embedding than its parent: convert the bundle again")
        return AnswerAgreement(
            windows=len(self.audio),
            # NaN stays.
            audio_cosine=float(
                np.minimum(lowest_cosine(self.audio, form.audio), lowest_cosine(self.sound, form.sound))
            ),
            text_cosine=lowest_cosine(self.prompts, form.prompts) if self.prompts.size else 1.0,
            captions_equal=float(np.mean(self.tokens == form.tokens)),
            log_likelihood_difference=relative_difference(self.log_likelihood, form.log_likelihood),
        )


def check_answers(
    model: Prompted,
    clips: Sequence[Array],
    prompts: Sequence[str],
    answers: Sequence[Sequence[Sequence[int]]] | None = None,
) -> CheckAnswers:
    """Hear each clip, and decode along an answer to each prompt.

    Args:
        model: to be heard out.
        clips: waveforms (samples,).
        prompts: "" alone of a bundle that takes none.
        answers: for each prompt the tokens of one answer a clip; None for the model's own, decoded greedily.

    Raises:
        DataError: the model gives no numbers.
    """
    sounds = [model.hear(clip) for clip in clips]
    if answers is None:
        own = model.manifest.decoding
        rules = SearchRules(
            beams=1, max_length=min(own.max_length, MAX_FED), temperature=1.0, stop_token_id=own.stop_token_id
        )
        answers = [[model.answer(sound, prompt, rules=rules).beams.rows()[0] for sound in sounds] for prompt in prompts]
    of_prompts, tokens, likelihoods = [], [], []
    for prompt, of_prompt in zip(prompts, answers, strict=True):
        for sound, answer in zip(sounds, of_prompt, strict=True):
            followed = model.follow(sound, prompt, answer)
            tokens.append(followed.logits.argmax(axis=1))
            likelihoods += [followed.log_likelihood(answer)] * len(answer)
        of_prompts.append(followed.prefix[len(sound.prefix) :].reshape(-1))
    return CheckAnswers(
        answers,
        np.stack([sound.audio_embedding for sound in sounds]),
        np.stack([sound.prefix.reshape(-1) for sound in sounds]),
        np.stack(of_prompts),
        np.concatenate(tokens),
        float(np.mean(likelihoods)),
    )


@dataclass(frozen=True)
class PromptedSamples:
    """See :class:`quantize.device.timing.RunSamples`.

    Attributes:
        inputs: role → inputs of single runs; of the decoder, one text's.
        prefixes: (P, D) of sound and prompt, one a sound.
        beams: texts side by side.
    """

    inputs: Mapping[GraphRole, Sequence[Arrays]]
    prefixes: Sequence[Array]
    beams: int

    def of(self, role: GraphRole) -> Sequence[Arrays]:
        """See :class:`quantize.device.timing.RunSamples`."""
        return self.inputs[role]

    def runs(self, role: GraphRole, engine: Engine) -> list[Callable[[], object]]:
        """See :class:`quantize.device.timing.RunSamples`; the decoder reads a prefix and takes a few steps."""
        if role != "decoder":
            return single_runs(engine, self.of(role))
        decoder = PrefixDecoder(engine)

        def write(prefix: Array) -> Callable[[], object]:
            return lambda: step_behind(decoder, prefix, self.beams, TIMED_STEPS)

        return [write(prefix) for prefix in self.prefixes]


def step_behind(decoder: PrefixDecoder, prefix: Array, beams: int, steps: int) -> None:
    """Read a prefix and feed as many beams their likeliest tokens, a few steps long."""
    decoder.open(beams, len(prefix) + steps)
    tokens = np.repeat(decoder.read(prefix).argmax(axis=1), beams)
    for _ in range(steps):
        tokens = decoder.step(tokens).argmax(axis=1)


class CheckedPrompted:
    """See :class:`quantize.device.checked_kind.CheckedKind`; sounds are waveforms (samples,) of the bundle's clips.

    Args:
        source: the bundle that is built from.
    """

    def __init__(self, source: Bundle) -> None:
        self._manifest = manifest = source.manifest_of(PromptedManifest)
        self._clip = manifest.clip
        self._prompts: tuple[str, ...] = ("",)
        self._prompt_inputs: list[Arrays] = []
        if manifest.prompt_tokens:
            self._prompts = (manifest.prompt, _QUESTION)
            tokenizer = load_tokenizer(source.checked(manifest.prompt_tokens.tokenizer))
            text = PromptText(tokenizer, manifest.prompt_tokens)
            self._prompt_inputs = [text.ids(prompt).inputs for prompt in self._prompts]

    def check_sounds(self) -> list[Sound]:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        return scene_clips(SCENES, self._clip.sample_rate, self._clip.samples)

    def recorded(self, folder: Path, count: int) -> Iterator[Sound]:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        return recorded_clips(folder, count, self._clip.sample_rate, self._clip.cutter)

    def outputs(
        self, bundle: Bundle, sounds: Sequence[Sound], options: EngineOptions, reference: CheckOutputs | None
    ) -> CheckAnswers:
        """See :class:`quantize.device.checked_kind.CheckedKind`: every form decodes along the parents' answers."""
        assert reference is None or isinstance(reference, CheckAnswers)
        return check_answers(Prompted(bundle, options), sounds, self._prompts, reference.answers if reference else None)

    def samples(
        self, bundle: Bundle, sounds: Sequence[Sound], options: EngineOptions, reference: CheckOutputs
    ) -> PromptedSamples:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        model = Prompted(bundle, options)
        prefixes = [
            model.follow(model.hear(clip), prompt, [model.manifest.decoding.stop_token_id]).prefix
            for clip, prompt in zip(sounds, self._prompts * len(sounds), strict=False)
        ]
        recorder = RecordingEngine(load_engine(bundle, "decoder", options)[0])
        step_behind(PrefixDecoder(recorder), prefixes[0], 1, SAMPLED_STEPS)
        return PromptedSamples(
            {
                "encoder": list(self.heard({}).of("encoder", sounds)),
                PROMPT_ENCODER: self._taken(bundle, options),
                "decoder": recorder.inputs,
            },
            prefixes,
            self._manifest.decoding.beams,
        )

    def _taken(self, bundle: Bundle, options: EngineOptions) -> list[Arrays]:
        """What the prompt encoder takes of the prompts' ids and masks."""
        if not self._prompt_inputs:
            return []
        takes = load_engine(bundle, PROMPT_ENCODER, options)[0].input_shapes
        return [{name: inputs[name] for name in takes} for inputs in self._prompt_inputs]

    def heard(self, parents: Mapping[GraphRole, Path]) -> HeardInputs:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        return ClipInputs(WAVEFORM, lambda clip: clip)

    def profiles(
        self,
        role: GraphRole,
        parents: Mapping[GraphRole, Graph],
        samples: RunSamples,
        streams: int,
        rows: int | None,
    ) -> Profiles:
        """See :class:`quantize.device.checked_kind.CheckedKind`.

        One clip is heard at once, and one text written, whatever ``streams`` says. Kernels are chosen by a step, of
        which there are many, not by the one reading of the prefix; a step has no prefix and a reading need not have
        tokens, so that both axes begin at 0 (TensorRT takes tensors without elements).
        """
        assert isinstance(samples, PromptedSamples)
        rules, before = self._manifest.decoding, len(samples.prefixes[0])
        beams = rows or rules.beams
        usual, largest = (min(self._manifest.positions, before + times * rules.max_length) for times in (1, 2))
        axes = {
            "rows": (1, beams, max(beams, MIN_LARGEST_BEAMS)),
            "vectors": (0, 0, before),
            "tokens": (0, 1, largest - before),
            "capacity": (1, usual, largest),
        }
        return profiles_of(role, parents[role].shapes, axes)

    def tuned_for(self, rows: int | None) -> str:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        beams = f"{rows}, as asked for" if rows else f"{self._manifest.decoding.beams}, as the bundle says"
        return f"the beams of one answer: {beams}"
