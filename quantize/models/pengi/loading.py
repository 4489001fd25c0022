"""Published weights to Pengi."""

from __future__ import annotations

from pathlib import Path

from edge_aac.errors import ConfigError
from quantize.models.audio_language.checkpoint_files import (
    PENGI,
    PublishedFile,
    check_window_tables,
    published_file,
)
from quantize.models.audio_language.language_models import (
    clip_text_config,
    clip_tokenizer,
    fill_constants,
    gpt2_of,
)
from quantize.models.checkpoint import fit_state, unfilled
from quantize.models.pengi.clip_text import ClipText
from quantize.models.pengi.network import PengiNetwork, PengiSizes, PromptTowerSizes
from quantize.models.pengi.pengi import Pengi, PengiSettings

PENGI_FILES = ("base.pth", "base_no_text_enc.pth")
_ENCODER, _DECODER = "caption_encoder.", "caption_decoder."


def load_pengi_weights(path: Path) -> Pengi:
    """Pengi, its weights mapped from the file.

    Args:
        path: ``base.pth`` or ``base_no_text_enc.pth``, with ``gpt2/`` and, for the first, CLIP's folder beside it (or
            beside ``configs/`` where it is in there); or a folder that has one of them, the first where it has both.

    Raises:
        InputMissingError: the file, or a tokenizer beside it, is not there or cannot be read.
        ConfigError: its settings or sizes cannot be used.
        DataError: it is damaged, holds code, is of another system, or does not fit; keys are named.
    """
    file = published_file(path, PENGI_FILES, PENGI)
    settings = file.settings(PengiSettings, f"{file.path.stem}.yml")
    gpt2, text = gpt2_of(file.part(settings.text_decoder))
    tower, prompts = _prompt_tower(file, settings)
    length = file.size(f"{_DECODER}audio_project.linear.weight", 0) // gpt2.n_embd
    if tower is None and settings.enc_text_len != length:
        raise ConfigError(
            f"{file.path}: enc_text_len is {settings.enc_text_len}; without a text tower it must be the {length} "
            "vectors that the mappers take"
        )
    sizes = PengiSizes(
        htsat=file.htsat_config(),
        dim=file.size("audio_encoder.projection.linear2.weight", 0),
        prompt=tower,
        gpt2=gpt2,
        length=length,
        prefix=file.size(f"{_DECODER}audio_project.prefix_const", 0),
        layers=file.layers(f"{_DECODER}audio_project.transformer.layers."),
    )
    network = unfilled(lambda: PengiNetwork(sizes), file.path)
    fit_state(network, check_window_tables(network, file), file.path)
    gpt = network.caption_decoder.gpt
    gpt.lm_head.weight = gpt.transformer.wte.weight
    fill_constants(network, file.path)
    return Pengi(network.eval().requires_grad_(False), text, prompts, settings)


def _prompt_tower(file: PublishedFile, settings: PengiSettings) -> tuple[PromptTowerSizes | None, ClipText | None]:
    """Sizes and tokens of the text tower; neither where the file has none."""
    if not any(key.startswith(_ENCODER) for key in file.state):
        return None, None
    folder = file.part(settings.text_model)
    clip = clip_text_config(folder)
    if settings.enc_text_len > clip.max_position_embeddings:
        raise ConfigError(
            f"{file.path}: enc_text_len is {settings.enc_text_len}; CLIP has {clip.max_position_embeddings} positions"
        )
    sizes = PromptTowerSizes(
        clip=clip,
        clip_dim=file.size(f"{_ENCODER}clip_text_projection.weight", 0),
        dim=file.size(f"{_ENCODER}projection.linear2.weight", 0),
    )
    return sizes, ClipText(clip_tokenizer(folder, clip.vocab_size), settings.enc_text_len)
