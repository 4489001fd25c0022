"""The rules of a bundle that say when its captions may name a sound: familiarity and sureness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from edge_aac.errors import ConfigError
from edge_aac.models.tokens import token_of
from quantize.bundles.sounds import write_sounds
from quantize.data.captions import words_that_name_nothing
from quantize.data.clips import Clip
from quantize.data.everyday.adverbs import SAYS
from quantize.data.everyday.lexicon import CONNECTIVES, Lexicon, english
from quantize.data.scenes import SceneBuilder
from quantize.models.captioner import Captioner
from quantize.models.familiarity import Familiarity
from quantize.models.sureness import Sureness
from quantize.progress import Log
from quantize.training.familiarity import fit_familiarity, known_scenes
from quantize.training.recipe import Recipe
from quantize.training.settings import SurenessRecipe

FRAME_WORDS = (
    *("a", "an", "the", "of", "in", "with", "by"),
    *("is", "are", "be", "being", "can", "there", "you", "hear", "heard"),
    *("sound", "nothing", "else", "first", "then", "followed"),
)
"""Words around names in captions: "there is …", "you can hear …", "the sound of … can be heard"."""


def sureness_of(recipe: SurenessRecipe | None, captioner: Captioner, lexicon: Lexicon | None = None) -> Sureness | None:
    """What the encoder's graph tells of how sure it is; None where the recipe wants none of it.

    Args:
        recipe: the recipe's table [sureness].
        captioner: the trained captioner.
        lexicon: the sounds of its classifier; None: the everyday ones.

    Raises:
        ConfigError: the captioner has no classifier of sounds, or one of another number of sounds.
    """
    if recipe is None:
        return None
    listed = len((lexicon or english()).order)
    if captioner.sound_head is None:
        raise ConfigError(
            "[sureness] is for a model that tells how sure it is of each sound, and this one does not: leave the table "
            f"out, or train with sounds = {listed} in [model]"
        )
    if captioner.config.sounds != listed:
        raise ConfigError(
            f"the model tells how sure it is of {captioner.config.sounds} sounds, and {listed} are listed: export it "
            "with the lexicon that it was trained with, or train it again"
        )
    return Sureness(captioner, recipe.scale, recipe.bias)


def free_words(lexicon: Lexicon) -> list[str]:
    """Words that captions may hold whatever is heard: those of the captions that name nothing, those that captions are
    built with, and adverbs."""
    adverbs = (word for phrase in SAYS for word in phrase.split())
    return sorted({*words_that_name_nothing(), *FRAME_WORDS, *CONNECTIVES, *lexicon.names.connectives, *adverbs})


def naming_entries(
    folder: Path, recipe: Recipe, tokenizer: Tokenizer, lexicon: Lexicon | None = None
) -> dict[str, Any]:
    """The rules that a recipe wants, as a manifest has them, each with what it needs.

    Args:
        folder: of the bundle; the list of sounds is written into it, where there is a rule for sureness.
        recipe: says which rules.
        tokenizer: tokenizer of the decoder.
        lexicon: the sounds of the captioner's classifier, in :attr:`Lexicon.order`; None: the everyday ones.
    """
    entries: dict[str, Any] = {}
    if recipe.familiarity:
        words = [word for word in words_that_name_nothing() if token_of(tokenizer, word) is not None]
        entries["familiarity"] = {"threshold": recipe.familiarity.threshold, "words": words}
    if recipe.sureness:
        lexicon = lexicon or english()
        entries["sounds"] = write_sounds(folder, lexicon.names)
        entries["sureness"] = {
            "threshold": recipe.sureness.threshold,
            "names": list(lexicon.order),
            "words": free_words(lexicon),
        }
    return entries


def familiarity_of(recipe: Recipe, captioner: Captioner, clips: Sequence[Clip], log: Log) -> Familiarity | None:
    """The score of familiarity, fitted to the trained encoder, where the recipe has one.

    Raises:
        DataError: the recordings are too few.
    """
    if recipe.familiarity is None:
        return None
    builder = SceneBuilder(clips, replace(recipe.scenes, unknown_probability=0.0))
    log(f"what is familiar, of {recipe.familiarity.scenes} scenes")
    scenes = known_scenes(builder, recipe.familiarity.scenes)
    return fit_familiarity(captioner.encoder, scenes, recipe.familiarity)
