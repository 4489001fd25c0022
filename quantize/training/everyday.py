"""The training of a captioner of everyday sounds, step by step: each is kept, and none is made twice.

1. The tagger hears mixtures of a store's sounds (:mod:`quantize.training.tagged_mixtures`) and every sound by itself
   (:mod:`quantize.data.everyday.heard_sounds`). Both serve every run with the same sounds and recipe.
2. The encoder learns from the mixtures (:mod:`quantize.training.tagging`): where the recipe says so its stem first,
   alone, on patches that do not overlap, which is half the work.
3. Its stem stays as it is. Scenes are stored with captions and what the stem makes of them, so that the captioner's
   own training is short (:mod:`quantize.training.everyday_source`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from edge_aac.bundle.hashes import file_sha256
from quantize.data.clips import Waveform
from quantize.data.everyday.events import HeardEvent
from quantize.data.everyday.heard_sounds import hear_store, read_heard
from quantize.data.everyday.lexicon import ENGLISH, english
from quantize.data.everyday.scenes import without
from quantize.data.shards import ShardReader
from quantize.data.sounds.mixtures import MixtureMaker
from quantize.data.sounds.store import ROWS, SoundStore
from quantize.models.captioner import Captioner
from quantize.models.patch_stem import PatchStem
from quantize.models.sentence_embedder import SentenceEmbedder
from quantize.models.taggers import Tagger, load_tagger
from quantize.progress import OnProgress
from quantize.training.distributed import World
from quantize.training.everyday_source import EverydaySource
from quantize.training.identities import note_identities, sha256_of
from quantize.training.loop import Progress
from quantize.training.recipe import Recipe
from quantize.training.stored import StoredExamples
from quantize.training.tagged_mixtures import write_tagged
from quantize.training.tagging import FOLDER as TAGGING
from quantize.training.tagging import Tagging
from quantize.training.taught import FILE, read_taught, write_taught
from quantize.training.train import Run, store_examples

MIXTURES, SCENES = "mixtures", "scenes"


@dataclass(frozen=True)
class EverydayTraining:
    """A run of a recipe with the tables [tagging] and [everyday].

    Attributes:
        recipe: the recipe.
        data: folder of the store of sound.
        tagger_path: file of the tagger.
        heard: folder of what the tagger heard.
        run: folder of the run.
        world: the processes.
        encoder: file of an encoder that was taught before: then no mixture is heard or learnt from.
    """

    recipe: Recipe
    data: Path
    tagger_path: Path
    heard: Path
    run: Path
    world: World
    encoder: Path | None = None

    @cached_property
    def store(self) -> SoundStore:
        """The sounds."""
        return SoundStore.open(self.data)

    @cached_property
    def tagger(self) -> Tagger:
        """The teacher."""
        return load_tagger(self.tagger_path)

    @cached_property
    def events(self) -> list[tuple[HeardEvent, ...]]:
        """What the tagger heard in each sound, in the store's order."""
        return read_heard(self.heard)

    @property
    def held_out(self) -> tuple[int, ...]:
        """Folds that nothing is learnt from."""
        return self.store.folds_but(self.recipe.folds.train)

    def hear_sounds(self, on_progress: OnProgress) -> None:
        """Have the tagger hear every sound by itself, or what is left of them."""
        identity = {**self._identity, "lexicon": file_sha256(ENGLISH)}
        hear_store(self.store, self.tagger, english(), self.heard, identity, on_progress)

    def hear_mixtures(self, on_progress: OnProgress) -> None:
        """Have the tagger hear the recipe's mixtures, or what is left of them."""
        if self.encoder is not None:
            return
        recipe = self.recipe
        assert recipe.tagging is not None
        store = without(self.store, self.events, english(), recipe.folds.absent) if recipe.folds.absent else self.store
        drawn = replace(recipe.mixtures, length_s=recipe.tagging.mixture_s)
        maker = MixtureMaker(store, drawn, recipe.tagging.mixture_seed, self.held_out)
        identity = {**self._identity, "mixtures": asdict(drawn), "seed": recipe.tagging.mixture_seed}
        identity |= {"held_out": list(self.held_out), "absent": list(recipe.folds.absent)}
        identity["patches"] = [recipe.model.beats.stem_frames, recipe.model.beats.stem_hop_frames]
        mixtures = _Mixtures(maker, recipe.tagging.mixtures)
        write_tagged(mixtures, self.tagger, recipe.model.beats, self.heard / MIXTURES, identity, on_progress)

    def teach(self, progress: Progress, tell: Callable[[str], None]) -> dict[str, Tensor]:
        """Teach the encoder what is left to learn; returns its averaged weights under the captioner's names.

        They are kept in the run's folder, too (:data:`quantize.training.taught.FILE`).

        Args:
            progress: of each step.
            tell: called with what begins, in words.
        """
        recipe = self.recipe
        assert recipe.tagging is not None
        model, mixtures = recipe.model, self.heard / MIXTURES
        if self.encoder is not None:
            tell(f"the encoder of {self.encoder.name}, as it is")
            return read_taught(self.encoder, model)
        if self.world.first:
            self._note_tagging()
        self.world.barrier()
        taught = None
        if recipe.stem is not None:
            tell("the stem, taught by the tagger")
            taught = Tagging(model, recipe.stem, self.tagger, mixtures, self.run, self.world).train(progress)
        tell("the encoder, taught by the tagger")
        taught = Tagging(model, recipe.tagging, self.tagger, mixtures, self.run, self.world, taught).train(progress)
        if self.world.first:
            write_taught(taught, self.run / FILE)
        return taught

    def source(self, taught: Mapping[str, Tensor]) -> EverydaySource:
        """Scenes as examples, heard through a taught encoder's stem."""
        captioner = Captioner(self.recipe.model)
        captioner.load_state_dict(dict(taught), strict=False)
        stem = captioner.encoder.patch_stem
        assert isinstance(stem, PatchStem)
        stem.eval().requires_grad_(False)
        return EverydaySource(self.recipe, self.store, self.events, english(), stem)

    def store_scenes(
        self, source: EverydaySource, sentence_embedder: SentenceEmbedder | None, on_progress: OnProgress
    ) -> None:
        """Make the recipe's stored scenes, or what is left to make of them."""
        store_examples(self.recipe, source, sentence_embedder, self.run / SCENES, on_progress)

    def captioner(
        self, source: EverydaySource, taught: Mapping[str, Tensor], sentence_embedder: SentenceEmbedder | None
    ) -> Run:
        """The captioner's own run."""
        stored = StoredExamples.open(self.run / SCENES)
        return Run(self.recipe, source, self.run, self.world, sentence_embedder, stored, taught)

    def _note_tagging(self) -> None:
        """Keep what the encoder learns from and how in its run's folder, or refuse a folder that has other things."""
        recipe, place = self.recipe, self.run / TAGGING
        place.mkdir(parents=True, exist_ok=True)
        parts = {
            "recipe": [
                asdict(part) for part in (recipe.stem, recipe.tagging, recipe.model, recipe.folds) if part is not None
            ],
            "mixtures": ShardReader(self.heard / MIXTURES).metadata,
        }
        note_identities({name: sha256_of(part) for name, part in parts.items()}, place)

    @property
    def _identity(self) -> dict[str, Any]:
        """What the tagger's hearing depends on."""
        return {"store": file_sha256(self.data / ROWS), "tagger": file_sha256(self.tagger_path)}


@dataclass(frozen=True)
class _Mixtures:
    """The first mixtures of a maker, as waveforms."""

    maker: MixtureMaker
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Waveform:
        return self.maker.mixture(0, index).waveform
