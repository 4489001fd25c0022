"""A recipe of everyday sounds so small that it is trained within seconds."""

from __future__ import annotations

from dataclasses import replace

from quantize.data.everyday.scenes import EverydaySceneRecipe
from quantize.models.config import BeatsConfig, CaptionerConfig, ConformerConfig, DecoderConfig
from quantize.training.recipe import Recipe, load_recipe
from quantize.training.settings import Folds, ListeningSettings, StoredRecipe, TaggingSettings, TextStudentSettings

SMALL = CaptionerConfig(
    beats=BeatsConfig(
        stem_width=0.2, patch_embed_dim=24, layers=0, run_layers=0, dim=16, ffn_dim=20, heads=2, conv_pos=4,
        conv_pos_groups=4, classes=10,
    ),
    conformer=ConformerConfig(
        layers=1, heads=2, ffn_dim=24, depthwise_kernel=5, conv_pos=4, conv_pos_groups=4, max_positions=40
    ),
    decoder=DecoderConfig(vocab_size=1200, layers=1, heads=2, ffn_dim=20, max_positions=40),
    downsample_rate=1,
    max_memory_positions=40,
    embedding_ffn_dim=16,
    embedding_dim=8,
    pooling="attention",
)  # fmt: skip


def small_everyday_recipe() -> Recipe:
    """The shipped recipe with a model of a few thousand numbers, and hardly any training."""
    recipe = load_recipe("everyday")
    assert recipe.stem is not None and recipe.tagging is not None
    stem = replace(recipe.stem, epochs=2, scenes_per_epoch=8, batch_scenes=4, warmup_steps=2)
    assert isinstance(stem, ListeningSettings)
    tagging = replace(
        recipe.tagging, mixtures=8, mixture_s=2.0, epochs=2, scenes_per_epoch=8, batch_scenes=4, warmup_steps=2
    )
    assert isinstance(tagging, TaggingSettings)
    return replace(
        recipe,
        name="small",
        folds=Folds((1, 2, 3), (4,)),
        model=replace(SMALL, sounds=recipe.model.sounds),
        text=replace(recipe.text, dim=16, head_dim=8, heads=2, ffn_dim=16, layers=1, embedding_dim=8),
        mixtures=replace(recipe.mixtures, source_weights=()),
        stem=stem,
        tagging=tagging,
        everyday=EverydaySceneRecipe(),
        stored=StoredRecipe(count=8, captions=3),
        train=replace(
            recipe.train,
            epochs=2,
            scenes_per_epoch=8,
            batch_scenes=4,
            warmup_steps=2,
            validation_scenes=4,
            corpus_scenes=100,
        ),
        text_student=TextStudentSettings(
            epochs=2, scenes_per_epoch=24, batch_scenes=8, warmup_steps=1, corpus_texts=24, held_out_texts=8
        ),
    )
