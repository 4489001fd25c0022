"""Dual encoders as a build sees them: those of a stream's windows, and those of clips, such as CLAP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_aac.audio.clips import ClipCutter
from edge_aac.audio.log_mel import LogMel, read_filters
from edge_aac.bundle import limits
from edge_aac.bundle.clip_rule import ClipRule
from edge_aac.bundle.manifest import Graph, GraphRole
from edge_aac.bundle.patches import STEM
from edge_aac.bundle.store import Bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import Arrays, Engine, EngineOptions
from edge_aac.errors import DataError
from edge_aac.models.clip_encoder import ClipEncoder
from edge_aac.models.dual_encoder import DualEncoder
from edge_aac.models.dual_encoder_manifest import DualEncoderManifest, TextRule
from edge_aac.models.graph_contracts import LOG_MEL
from edge_aac.models.patches import PATCHES, PatchStem
from edge_aac.models.tokens import load_tokenizer, plain_text, to_arrays, verbatim_arrays
from edge_aac.models.trial import MAX_TEXT_TOKENS
from quantize.captioning import described, heard
from quantize.device.check_clips import CHECK_TEXTS, check_clips, check_texts, one_by_one, scene_clips
from quantize.device.check_windows import check_windows
from quantize.device.checked_kind import Sound
from quantize.device.gate import Agreement, CheckOutputs, lowest_cosine
from quantize.device.profiles import Profiles, profiles_of, token_axis
from quantize.device.timing import RunSamples, single_runs
from quantize.graphs.calibration_windows import recorded_clips, recorded_windows
from quantize.graphs.sound_inputs import ClipInputs, HeardInputs, SoundInputs

Array = npt.NDArray[np.float32]

SCENES = 9
"""Made-up scenes that a model of clips hears, beside the three of :func:`quantize.device.check_clips.check_clips`."""
USUAL_TEXTS, LARGEST_TEXTS = 8, 16
"""That a plan embeds at once: a table of labels takes several runs, and no long text takes all of a board's memory."""


@dataclass(frozen=True)
class CheckEmbeddings:
    """What a dual encoder makes of the check sounds and texts.

    Attributes:
        audio: (N, E) of the sounds.
        texts: (M, E) of the texts.
    """

    audio: Array
    texts: Array

    def compared(self, form: CheckEmbeddings) -> Agreement:
        """See :class:`quantize.device.gate.CheckOutputs`; there are no captions that could differ.

        Raises:
            DataError: they embed in different numbers of dimensions.
        """
        if self.audio.shape != form.audio.shape or self.texts.shape != form.texts.shape:
            raise DataError("a form embeds in another number of dimensions than its parent: convert the bundle again")
        return Agreement(
            windows=len(self.audio),
            audio_cosine=lowest_cosine(self.audio, form.audio),
            text_cosine=lowest_cosine(self.texts, form.texts),
            captions_equal=1.0,
            log_likelihood_difference=0.0,
        )


@dataclass(frozen=True)
class EmbedderSamples:
    """See :class:`quantize.device.timing.RunSamples`.

    Attributes:
        inputs: role → inputs of single runs; of a stem, all patches of a window each.
    """

    inputs: Mapping[GraphRole, Sequence[Arrays]]

    def of(self, role: GraphRole) -> Sequence[Arrays]:
        """See :class:`quantize.device.timing.RunSamples`."""
        return self.inputs[role]

    def runs(self, role: GraphRole, engine: Engine) -> list[Callable[[], object]]:
        """See :class:`quantize.device.timing.RunSamples`."""
        if role != STEM:
            return single_runs(engine, self.of(role))
        stem = PatchStem(engine)

        def hear(patches: Array) -> Callable[[], object]:
            return lambda: stem.run(list(patches))

        return [hear(np.asarray(given[PATCHES], np.float32)) for given in self.of(role)]


class CheckedDualEncoder:
    """See :class:`quantize.device.checked_kind.CheckedKind`; sounds are filter banks (998, 128).

    Args:
        source: the bundle that is built from.
    """

    def __init__(self, source: Bundle) -> None:
        self._manifest = source.manifest_of(DualEncoderManifest)
        self._tokenizer = load_tokenizer(source.checked(self._manifest.text_tokenizer))

    def check_sounds(self) -> list[Sound]:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        return check_windows()

    def recorded(self, folder: Path, count: int) -> Iterator[Sound]:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        return recorded_windows(folder, count)

    def outputs(
        self, bundle: Bundle, sounds: Sequence[Sound], options: EngineOptions, reference: CheckOutputs | None
    ) -> CheckEmbeddings:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        model = DualEncoder(bundle, options)
        given = ((heard(fbank), np.random.default_rng(0)) for fbank in sounds)
        audio = [description.audio_embedding for description in described(model, given)]
        return CheckEmbeddings(np.stack(audio), model.embed(self._texts()))

    def samples(
        self, bundle: Bundle, sounds: Sequence[Sound], options: EngineOptions, reference: CheckOutputs
    ) -> EmbedderSamples:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        patches = self._manifest.patches
        takes = load_engine(bundle, "encoder", options)[0].input_shapes
        stem = PatchStem(load_engine(bundle, STEM, options)[0]) if patches else None
        sound = SoundInputs(takes, patches, stem)
        inputs: dict[GraphRole, Sequence[Arrays]] = {role: list(sound.of(role, sounds)) for role in sound.roles}
        texts = to_arrays(self._tokenizer, self._texts(), self._manifest.instruction)
        return EmbedderSamples({**inputs, "text_embedder": one_by_one(*texts)})

    def heard(self, parents: Mapping[GraphRole, Path]) -> HeardInputs:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        return SoundInputs.of_files(parents, self._manifest.patches)

    def profiles(
        self,
        role: GraphRole,
        parents: Mapping[GraphRole, Graph],
        samples: RunSamples,
        streams: int,
        rows: int | None,
    ) -> Profiles:
        """See :class:`quantize.device.checked_kind.CheckedKind`; ``rows`` are texts here."""
        texts = rows or USUAL_TEXTS
        patches = self._manifest.patches.count if self._manifest.patches else 1
        axes = {
            "windows": (1, 1, streams),
            "patches": (1, 1, streams * patches),
            "texts": (1, texts, max(texts, LARGEST_TEXTS)),
            "tokens": token_axis(self._longest_text()),
        }
        return profiles_of(role, parents[role].shapes, axes)

    def tuned_for(self, rows: int | None) -> str:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        return f"{rows}, as asked for, texts at once" if rows else f"{USUAL_TEXTS} texts at once"

    def _texts(self) -> list[str]:
        """What the text embedder is compared on: the check texts, and the first of the bundle's own labels."""
        return [*map(plain_text, CHECK_TEXTS[:-1]), *self._manifest.texts()[:LARGEST_TEXTS]]

    def _longest_text(self) -> int:
        """Tokens that a plan must take: a label within its prompt has no more characters than this."""
        instruction = len(self._tokenizer.encode(self._manifest.instruction).ids)
        return min(MAX_TEXT_TOKENS, instruction + limits.MAX_LABEL + limits.MAX_PROMPT)


class CheckedClipEncoder(CheckedDualEncoder):
    """A dual encoder of clips; sounds are waveforms (samples,) at the bundle's rate.

    Args:
        source: the bundle that is built from.

    Raises:
        DataError: it has no rule for its texts.
    """

    def __init__(self, source: Bundle) -> None:
        super().__init__(source)
        if self._manifest.clip is None or self._manifest.text is None:
            raise DataError(f"bundle {source.opened_as!r} has no rules for clips and texts: convert it again")
        self._clip: ClipRule = self._manifest.clip
        self._text: TextRule = self._manifest.text
        mel = self._clip.mel
        self._mel = LogMel(mel.fft, mel.hop, read_filters(source.checked(mel.filters), mel.fft, mel.bins))

    def check_sounds(self) -> list[Sound]:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        samples = self._clip.samples
        return [*check_clips(samples), *scene_clips(SCENES, self._manifest.sample_rate, samples)]

    def recorded(self, folder: Path, count: int) -> Iterator[Sound]:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        clip, rate = self._clip, self._manifest.sample_rate
        return recorded_clips(folder, count, rate, lambda: ClipCutter(rate, clip.samples, clip.mixes, clip.pads))

    def outputs(
        self, bundle: Bundle, sounds: Sequence[Sound], options: EngineOptions, reference: CheckOutputs | None
    ) -> CheckEmbeddings:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        model = ClipEncoder(bundle, options)
        return CheckEmbeddings(np.stack([model.embed_clip(clip) for clip in sounds]), model.embed(self._texts()))

    def samples(
        self, bundle: Bundle, sounds: Sequence[Sound], options: EngineOptions, reference: CheckOutputs
    ) -> EmbedderSamples:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        instruction, suffix = self._manifest.instruction, self._text.suffix
        texts = verbatim_arrays(self._tokenizer, [instruction + text + suffix for text in self._texts()])
        return EmbedderSamples(
            {"encoder": list(self.heard({}).of("encoder", sounds)), "text_embedder": one_by_one(*texts)}
        )

    def heard(self, parents: Mapping[GraphRole, Path]) -> HeardInputs:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        return ClipInputs(LOG_MEL, self._mel.of)

    def _texts(self) -> list[str]:
        return check_texts(self._tokenizer, self._text.suffix, self._text.max_tokens)

    def _longest_text(self) -> int:
        return self._text.max_tokens
