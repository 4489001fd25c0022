"""A recipe: everything that decides a model, read from one TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pydantic import ValidationError

from edge_aac.audio.features import FRAME_LENGTH_SAMPLES, FRAME_SHIFT_SAMPLES
from edge_aac.bundle.manifest import DecodingRules, RerankWeights
from edge_aac.errors import ConfigError, first_complaint
from edge_aac.timebase import SAMPLE_RATE
from quantize.data.everyday.lexicon import english
from quantize.data.everyday.scenes import EverydaySceneRecipe
from quantize.data.lexicon import LABELS
from quantize.data.scenes import SceneRecipe
from quantize.data.sound_bank import MixRecipe
from quantize.data.sounds.mixtures import MixtureRecipe
from quantize.models.config import CaptionerConfig, TextEmbedderConfig, at_least_one, captioner_config, config_from
from quantize.training.recipe_files import check_tables, recipe_table, shipped_names
from quantize.training.settings import (
    CorpusRecipe,
    DistillSettings,
    EventRecipe,
    FamiliarityRecipe,
    Folds,
    ListeningSettings,
    MixupRecipe,
    Precision,
    StoredRecipe,
    SurenessRecipe,
    TaggingSettings,
    TextStudentSettings,
    TrainerSettings,
    TrainSettings,
)


@dataclass(frozen=True)
class Recipe:
    """See ``quantize/recipes/esc10-tiny.toml`` for every table.

    Attributes:
        pretrain: settings of the encoder's training on short mixes of the recordings, before the captions; None leaves
            it out.
        corpus: captioned clips to learn from; None: scenes of labelled recordings.
        familiarity: settings of the score of familiarity; None for a bundle without one.
        stem: settings of its stem's distillation, alone, before the rest of the encoder; None leaves it out.
        tagging: settings of the encoder's distillation from an audio tagger, before the captions; None leaves it out.
        mixtures: how the mixtures are drawn that tagger and encoder hear.
        everyday: how scenes of everyday sounds are drawn; None: scenes of ten sounds, or a corpus.
        sureness: how sure the captioner must be of a sound to name it; None for a bundle that does not tell.
        license: under which the weights may be passed on, as the recordings' licences have it.
        source: description of the recordings and of who collected them.
    """

    name: str
    version: str
    license: str
    source: str
    folds: Folds
    model: CaptionerConfig
    text: TextEmbedderConfig
    scenes: SceneRecipe
    train: TrainSettings
    mixes: MixRecipe = field(default_factory=MixRecipe)
    pretrain: TrainerSettings | None = None
    mixup: MixupRecipe = field(default_factory=MixupRecipe)
    corpus: CorpusRecipe | None = None
    stored: StoredRecipe = field(default_factory=StoredRecipe)
    distill: DistillSettings = field(default_factory=DistillSettings)
    text_student: TextStudentSettings = field(default_factory=TextStudentSettings)
    decoding: Mapping[str, Any] = field(default_factory=dict)
    rerank: Mapping[str, float] = field(default_factory=dict)
    events: EventRecipe = field(default_factory=EventRecipe)
    familiarity: FamiliarityRecipe | None = None
    stem: ListeningSettings | None = None
    tagging: TaggingSettings | None = None
    mixtures: MixtureRecipe = field(default_factory=MixtureRecipe)
    everyday: EverydaySceneRecipe | None = None
    sureness: SurenessRecipe | None = None

    def __post_init__(self) -> None:
        if self.corpus and self.familiarity:
            raise ConfigError("[familiarity] is fitted to labelled recordings: leave it out of a recipe with [corpus]")
        if self.folds.validation and not self.corpus:
            at_least_one(self.train, "validation_scenes")
        if (self.tagging is None) != (self.everyday is None):
            raise ConfigError("[tagging] and [everyday] go together: give both tables, or neither")
        self._check_stem()
        if self.everyday and (self.corpus or self.pretrain or self.familiarity):
            raise ConfigError("a recipe with [everyday] takes no [corpus], [pretrain] or [familiarity]")
        if self.everyday and not self.model.beats.stem_width:
            raise ConfigError("[everyday] needs an encoder of patches: set stem_width in [model.beats]")
        self._check_absent()
        together = self.train.contrastive_target == "together" and self.train.contrastive_weight
        if together and self.text.embedding_dim != self.model.embedding_dim:
            raise ConfigError(
                f"[text] embeds in {self.text.embedding_dim} dimensions, [model] in {self.model.embedding_dim}: "
                "give both the same embedding_dim"
            )

    def _check_stem(self) -> None:
        """Refuse a stem that would not be taught, and patches that cannot be heard without overlap."""
        if self.tagging and self.tagging.stem_stays and not self.stem:
            raise ConfigError("[tagging] stem_stays needs the table [stem], which teaches the stem before")
        if not self.stem:
            return
        if not self.tagging:
            raise ConfigError("[stem] needs the table [tagging]")
        beats = self.model.beats
        if beats.stem_frames > 2 * beats.stem_hop_frames:
            raise ConfigError("[stem] hears every second patch: set stem_frames to at most twice stem_hop_frames")
        # Every other epoch leaves out the first hop, and a patch must be left.
        samples = (beats.stem_frames + beats.stem_hop_frames - 1) * FRAME_SHIFT_SAMPLES + FRAME_LENGTH_SAMPLES
        if round(self.tagging.mixture_s * SAMPLE_RATE) < samples:
            raise ConfigError(
                f"[stem] needs mixtures of two patches: set mixture_s in [tagging] to {samples / SAMPLE_RATE:g} or more"
            )

    def _check_absent(self) -> None:
        """Refuse to leave out what the recordings have no label for, nor the lexicon a name."""
        lexicon = english()
        known = {*lexicon.sounds, *lexicon.by_label} if self.everyday else set(LABELS)
        if unknown := set(self.folds.absent) - known:
            listed = "the sounds of the everyday lexicon" if self.everyday else ", ".join(LABELS)
            raise ConfigError(f"there is no class {min(unknown)!r} to leave out; known are: {listed}")

    def changed(
        self,
        epochs: int | None = None,
        seed: int | None = None,
        folds: tuple[int, ...] | None = None,
        absent: tuple[str, ...] = (),
        precision: Precision | None = None,
    ) -> Recipe:
        """The recipe with other epochs of the captioner's training, another seed or precision of every stage, other
        folds, and classes left out.

        Raises:
            ConfigError: folds or classes are given for a corpus, which has neither.
        """
        recipe = self
        if self.corpus and (folds is not None or absent):
            raise ConfigError("a corpus has neither folds nor classes: leave --folds and --absent out")
        if epochs is not None:
            recipe = replace(recipe, train=replace(recipe.train, epochs=epochs))
        of_stages: dict[str, Any] = {"seed": seed, "precision": precision}
        of_stages = {name: value for name, value in of_stages.items() if value is not None}
        recipe = replace(
            recipe,
            train=replace(recipe.train, **of_stages),
            pretrain=replace(recipe.pretrain, **of_stages) if recipe.pretrain else None,
            stem=replace(recipe.stem, **of_stages) if recipe.stem else None,
            tagging=replace(recipe.tagging, **of_stages) if recipe.tagging else None,
            text_student=replace(recipe.text_student, **of_stages),
        )
        if folds is not None:
            validation = tuple(fold for fold in recipe.folds.validation if fold not in folds)
            recipe = replace(recipe, folds=replace(recipe.folds, train=folds, validation=validation))
        if absent:
            recipe = replace(recipe, folds=replace(recipe.folds, absent=absent))
        return recipe

    def with_vocabulary(self, vocab_size: int) -> Recipe:
        """This recipe for a tokenizer of ``vocab_size`` entries."""
        decoder = replace(self.model.decoder, vocab_size=vocab_size)
        return replace(self, model=replace(self.model, decoder=decoder), text=replace(self.text, vocab_size=vocab_size))


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return shipped_names()


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe by the name of a shipped one, or from a TOML file.

    Raises:
        InputMissingError: neither exists.
        ConfigError: not TOML, or a table, key or value that no recipe has.
    """
    return parse_recipe(recipe_table(name_or_path))


def parse_recipe(table: Mapping[str, Any]) -> Recipe:
    """Build a recipe from its TOML tables.

    Raises:
        ConfigError: a table, key or value is missing or unusable, or would have no effect beside the others.
    """
    known = {entry.name for entry in fields(Recipe)} - {"name", "version", "license", "source"} | {"bundle"}
    check_tables(table, known)
    try:
        # One output of the encoder's predictor for each class there is a word for.
        beats = {**table["model"].get("beats", {}), "classes": len(LABELS)}
        for section, kind in (("decoding", DecodingRules), ("rerank", RerankWeights)):
            kind.model_validate(table[section])
        model = {**table["model"], "beats": beats}
        sounds = 0 if table.get("everyday") is None else len(english().sounds)
        if model.setdefault("sounds", sounds) != sounds or (table.get("sureness") is not None and not sounds):
            raise ConfigError(
                "sounds in [model] and [sureness] are of recipes with [everyday], which know the number of sounds: "
                "leave them out"
            )
        recipe = recipe_from({**table, **table["bundle"], "model": model})
    except KeyError as error:
        raise ConfigError(f"the recipe lacks {error.args[0]!r}; quantize/recipes/ holds a complete one") from error
    except ValidationError as error:
        raise ConfigError(f"the recipe's [{section}] is unusable: {first_complaint(error)}") from error
    _check_sense(table, recipe)
    return recipe


def _check_sense(table: Mapping[str, Any], recipe: Recipe) -> None:
    """Refuse what is asked for and could not be had. Runs that were begun so are read nevertheless."""
    if recipe.mixup.pairs and not recipe.corpus:
        raise ConfigError("pairs in [mixup] are of clips of a corpus: give a table [corpus], or set scene_share")
    if recipe.corpus and recipe.mixup.scene_share:
        raise ConfigError("scene_share in [mixup] is of scenes, which a recipe with [corpus] has not: set pairs")
    if recipe.corpus and "folds" in table:
        raise ConfigError("[folds] are of labelled recordings: leave the table out of a recipe with [corpus]")
    longest, positions = DecodingRules.model_validate(table["decoding"]).max_length, recipe.model.decoder.max_positions
    if longest > positions:
        raise ConfigError(
            f"max_length in [decoding] is {longest}, but the decoder has {positions} positions: "
            "lower it, or raise max_positions in [model.decoder]"
        )


def recipe_from(table: Mapping[str, Any]) -> Recipe:
    """The recipe whose ``asdict`` a table is; tables that may be left out have their defaults.

    Raises:
        KeyError: a table or value is missing that has no default.
        ConfigError: a key is unknown, or a value is unusable.
    """
    return Recipe(
        name=table["name"],
        version=table["version"],
        license=table["license"],
        source=table["source"],
        folds=config_from(Folds, {"train": ()} if table.get("corpus") else table["folds"]),
        model=captioner_config(table["model"]),
        text=config_from(TextEmbedderConfig, table["text"]),
        scenes=config_from(SceneRecipe, table.get("scenes", {})),
        mixes=config_from(MixRecipe, table.get("mixes", {})),
        pretrain=config_from(TrainerSettings, table["pretrain"]) if table.get("pretrain") else None,
        train=config_from(TrainSettings, table["train"]),
        mixup=config_from(MixupRecipe, table.get("mixup", {})),
        corpus=config_from(CorpusRecipe, table["corpus"]) if table.get("corpus") else None,
        stored=config_from(StoredRecipe, table.get("stored", {})),
        distill=config_from(DistillSettings, _renamed(table.get("distill", {}), ask_of_unknown="distil_unknown")),
        text_student=config_from(TextStudentSettings, table.get("text_student", {})),
        decoding=dict(table["decoding"]),
        rerank=dict(table["rerank"]),
        events=config_from(EventRecipe, table.get("events", {})),
        familiarity=config_from(FamiliarityRecipe, _renamed(table["familiarity"], least="threshold"))
        if table.get("familiarity")
        else None,
        stem=config_from(ListeningSettings, table["stem"]) if table.get("stem") else None,
        tagging=config_from(TaggingSettings, table["tagging"]) if table.get("tagging") else None,
        mixtures=config_from(MixtureRecipe, table.get("mixtures", {})),
        everyday=config_from(EverydaySceneRecipe, table["everyday"]) if table.get("everyday") is not None else None,
        sureness=config_from(SurenessRecipe, table["sureness"]) if table.get("sureness") is not None else None,
    )


def _renamed(table: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """A table of an older recipe or run with its keys as they are called now: former name → name."""
    return {names.get(key, key): value for key, value in table.items()}
