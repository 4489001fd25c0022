"""Dual encoders that hear clips at a rate of their own, such as CLAP: sounds and texts in one space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_aac import records
from edge_aac.audio.clips import Clip, ClipCutter
from edge_aac.audio.damage import cut_to_the_end
from edge_aac.audio.log_mel import LogMel, read_filters
from edge_aac.audio.sources.file import read_channels
from edge_aac.bundle.store import Bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import DataError
from edge_aac.fluency.sound_names import SoundNames
from edge_aac.models.contract import identity_of
from edge_aac.models.dual_encoder import texts_at_once
from edge_aac.models.dual_encoder_manifest import DualEncoderManifest
from edge_aac.models.graph_contracts import LOG_MEL, GraphChecks, clip_encoder, text_embedder
from edge_aac.models.shared_space import HeardPart, unit
from edge_aac.models.sound_table import sounds_of
from edge_aac.models.tokens import load_tokenizer, to_arrays, verbatim_arrays
from edge_aac.models.trial import MAX_TEXT_TOKENS, Trial

Array = npt.NDArray[np.float32]


class ClipEncoder:
    """A bundle of the kind dual_encoder with a rule for clips; see :class:`edge_aac.models.shared_space.SharedSpace`.

    Args:
        bundle: with :attr:`edge_aac.models.dual_encoder_manifest.DualEncoderManifest.clip` in its manifest.
        options: backend and threads.

    Raises:
        InputMissingError, DataError, DeviceError: the bundle cannot be run here.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        self._manifest = manifest = bundle.manifest_of(DualEncoderManifest)
        if manifest.clip is None:
            raise DataError(f"bundle {bundle.opened_as!r} hears the windows of a stream, no clips: give another bundle")
        self.clip, mel = manifest.clip, manifest.clip.mel
        self._encoder, self._graph = load_engine(bundle, "encoder", options)
        self._text_embedder, text_graph = load_engine(bundle, "text_embedder", options)
        checks = GraphChecks(bundle, embedding_size=manifest.embedding_size)
        checks.check("encoder", self._graph, self._encoder, clip_encoder(self.clip.frames, mel.bins))
        checks.check("text_embedder", text_graph, self._text_embedder, text_embedder(compared=True))
        self.sound_names: SoundNames | None = sounds_of(bundle)
        self._mel = LogMel(mel.fft, mel.hop, read_filters(bundle.checked(mel.filters), mel.fft, mel.bins))
        self._tokenizer = load_tokenizer(bundle.checked(manifest.text_tokenizer))
        trial = Trial(bundle)
        trial.text_ids(self._text_embedder, self._tokenizer, manifest.text_tokenizer.file)
        trial.embed(self.embed, ["a dog barks"], manifest.embedding_size)
        noise = np.random.default_rng(0).normal(0.0, 0.1, self.clip.samples).astype(np.float32)
        trial.embed_sound("a clip", lambda: self.embed_clip(noise)[np.newaxis], manifest.embedding_size)

    @property
    def identity(self) -> records.Model:
        """See :class:`edge_aac.models.shared_space.SharedSpace`."""
        return identity_of(self._manifest, self._graph)

    @property
    def language(self) -> str:
        """See :class:`edge_aac.models.shared_space.SharedSpace`."""
        return self._manifest.language

    @property
    def own_labels(self) -> Sequence[str]:
        """See :class:`edge_aac.models.shared_space.SharedSpace`."""
        return self._manifest.labels

    @property
    def templates(self) -> Sequence[str]:
        """See :class:`edge_aac.models.shared_space.SharedSpace`."""
        return self._manifest.around

    @property
    def logit_scale(self) -> float | None:
        """See :class:`edge_aac.models.shared_space.SharedSpace`."""
        return self._manifest.logit_scale

    def written(self, text: str) -> str:
        """See :class:`edge_aac.models.shared_space.SharedSpace`: as it is, where the manifest has a rule for texts."""
        return text

    def cutter(self) -> ClipCutter:
        """Cuts sound of the bundle's rate into its clips."""
        return ClipCutter(self._manifest.sample_rate, self.clip.samples, self.clip.mixes, self.clip.pads)

    def log_mel(self, waveform: Array) -> Array:
        """Log-mel (frames, M) in dB of one clip, (samples,) at the bundle's rate."""
        return self._mel.of(waveform)

    def embed_clip(self, waveform: Array) -> Array:
        """Embedding (E,) of one clip, as the encoder gives it: of any length."""
        given = {LOG_MEL: self.log_mel(waveform)[np.newaxis]}
        embedding: Array = self._encoder.run(given)["audio_embedding"][0]
        return embedding

    def embed(self, texts: Sequence[str]) -> Array:
        """See :class:`edge_aac.models.shared_space.SharedSpace`."""
        at_once = texts_at_once(self._text_embedder)
        return np.concatenate([self._texts_embedded(texts[at : at + at_once]) for at in range(0, len(texts), at_once)])

    def hear(self, path: Path) -> Iterator[HeardPart]:
        """See :class:`edge_aac.models.shared_space.SharedSpace`; channels are mixed as the bundle's clips say."""
        for clip in self._clips(path):
            yield HeardPart(clip.start_s, clip.end_s, unit(self.embed_clip(clip.waveform)), clip.channel)

    def _clips(self, path: Path) -> Iterator[Clip]:
        cutter = self.cutter()
        return cut_to_the_end(read_channels(path, self._manifest.sample_rate), cutter.push, cutter.flush)

    def _texts_embedded(self, texts: Sequence[str]) -> Array:
        rule = self._manifest.text
        if rule is None:
            token_ids, attention_mask = to_arrays(self._tokenizer, texts, self._manifest.instruction)
        else:
            instruction = self._manifest.instruction
            token_ids, attention_mask = verbatim_arrays(
                self._tokenizer, [instruction + text + rule.suffix for text in texts]
            )
        longest = MAX_TEXT_TOKENS if rule is None else rule.max_tokens
        if token_ids.shape[1] > longest:
            raise DataError(f"a text has {token_ids.shape[1]} tokens, this bundle reads {longest}: shorten it")
        return self._text_embedder.run({"token_ids": token_ids, "attention_mask": attention_mask})["embedding"]
