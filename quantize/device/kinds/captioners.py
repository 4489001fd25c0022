"""Captioners ("seq2seq") as a build sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edge_aac.bundle.manifest import Graph, GraphRole, Seq2SeqManifest
from edge_aac.bundle.store import Bundle
from edge_aac.engines.choice import load_engine
from edge_aac.engines.contract import EngineOptions
from edge_aac.models.tokens import load_tokenizer
from quantize.device.check_windows import check_windows
from quantize.device.checked_kind import Sound
from quantize.device.gate import CheckCaptions, CheckOutputs, caption_check_windows
from quantize.device.profiles import Profiles, profiles_for
from quantize.device.timing import RunSamples, Samples, collect_samples
from quantize.graphs.calibration_windows import recorded_windows
from quantize.graphs.sound_inputs import HeardInputs, SoundInputs


class CheckedCaptioner:
    """See :class:`quantize.device.checked_kind.CheckedKind`; sounds are filter banks (998, 128).

    Args:
        source: the bundle that is built from.
    """

    def __init__(self, source: Bundle) -> None:
        self._manifest = source.manifest_of(Seq2SeqManifest)
        self._text_tokenizer = source.path(self._manifest.tokenizers.text)

    def check_sounds(self) -> list[Sound]:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        return check_windows()

    def recorded(self, folder: Path, count: int) -> Iterator[Sound]:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        return recorded_windows(folder, count)

    def outputs(
        self, bundle: Bundle, sounds: Sequence[Sound], options: EngineOptions, reference: CheckOutputs | None
    ) -> CheckCaptions:
        """See :class:`quantize.device.checked_kind.CheckedKind`; each form captions by itself."""
        return caption_check_windows(bundle, sounds, options)

    def samples(
        self, bundle: Bundle, sounds: Sequence[Sound], options: EngineOptions, reference: CheckOutputs
    ) -> Samples:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        assert isinstance(reference, CheckCaptions)
        roles = [role for role in bundle.manifest.graphs if role != "text_embedder"]
        engines = {role: load_engine(bundle, role, options)[0] for role in roles}
        return collect_samples(bundle, engines, sounds, reference.captions)

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
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        assert isinstance(samples, Samples)
        manifest, rules = self._manifest, self._manifest.decoding
        capacity = parents["decoder"].shapes["self_keys_0"][2]
        tokenizer = load_tokenizer(self._text_tokenizer)
        return profiles_for(
            role,
            parents[role].shapes,
            streams=streams,
            candidates=rows or rules.candidates,
            capacity=capacity if isinstance(capacity, int) else rules.max_positions - 1,
            memory_steps=samples.memories[0].padding.shape[1],
            # Another tokenizer may cut the words of a caption into more pieces than the decoder's.
            text_tokens=len(tokenizer.encode(manifest.instruction).ids) + 2 * rules.max_positions,
            patches=manifest.patches.count if manifest.patches else 1,
        )

    def tuned_for(self, rows: int | None) -> str:
        """See :class:`quantize.device.checked_kind.CheckedKind`."""
        drawn = f"{rows}, as asked for" if rows else f"{self._manifest.decoding.candidates}, as the bundle draws"
        return f"the candidates of one window: {drawn}"
