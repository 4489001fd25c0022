"""LAION's CLAP (Wu et al., ICASSP 2023) as ``transformers`` has it: ``ClapModel``, its feature extractor, RoBERTa."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

from edge_aac.errors import ConfigError, DataError
from quantize.models.audio_language.audio_stages import unit
from quantize.models.audio_language.checkpoint_files import LAION_CLAP, demand, read_weights
from quantize.models.audio_language.clips import ClipLength, Waveforms
from quantize.models.audio_language.language_models import fill_constants
from quantize.models.checkpoint import fit_state, unfilled
from quantize.models.clap.contract import TEXT_BATCH
from quantize.models.instructor import part_tokenizer
from quantize.models.weight_files import read_json

_BATCH = 8
_COUNTED = ("text_model.embeddings.position_ids", "text_model.embeddings.token_type_ids")


class LaionClap:
    """Stages of LAION's CLAP, without gradients; see :class:`quantize.models.clap.contract.SoundTextModel`.

    Embeddings have unit length. Of a longer sound one clip is heard, with the weights of feature fusion, too: what
    fusion draws at random from longer sounds has no part in it.

    Args:
        network: in evaluation mode.
        extractor: its log-mel; slow, in numpy.
        tokenizer: RoBERTa's; it neither pads nor cuts.
        padding_id: its padding, from behind which positions are counted.
    """

    def __init__(
        self, network: ClapModel, extractor: ClapFeatureExtractor, tokenizer: Tokenizer, padding_id: int
    ) -> None:
        self.network, self.extractor, self.tokenizer, self.padding_id = network, extractor, tokenizer, padding_id
        self.clip_length = ClipLength(
            extractor.sampling_rate,
            extractor.nb_max_samples,
            mixes=True,
            pads=extractor.padding == "repeatpad",
        )

    def log_mel(self, waveform: Waveforms, rng: random.Random | None = None) -> Tensor:
        """See :meth:`SoundTextModel.log_mel`."""
        return self._features(self.clip_length.batch(waveform, rng))[:, :1]

    @torch.no_grad()
    def embed_audio(self, waveform: Waveforms, rng: random.Random | None = None) -> Tensor:
        """See :meth:`SoundTextModel.embed_audio`."""
        rows = []
        for part in self.clip_length.batch(waveform, rng).split(_BATCH):
            features = self._features(part)
            longer = torch.zeros(len(features), 1, dtype=torch.bool)
            rows.append(self.network.get_audio_features(input_features=features, is_longer=longer))
        return torch.cat(rows)

    @torch.no_grad()
    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """See :meth:`SoundTextModel.embed_text`."""
        rows = [torch.zeros(0, self.network.config.projection_dim)]
        for start in range(0, len(texts), TEXT_BATCH):
            ids, mask = self._tokens(texts[start : start + TEXT_BATCH])
            rows.append(self.network.get_text_features(input_ids=ids, attention_mask=mask))
        return torch.cat(rows)

    def similarity(self, audio_embeddings: Tensor, text_embeddings: Tensor) -> Tensor:
        """See :meth:`SoundTextModel.similarity`: ``exp(logit_scale_a)`` times the cosines."""
        return self.network.logit_scale_a.detach().exp() * unit(audio_embeddings) @ unit(text_embeddings).T

    def _features(self, clips: Tensor) -> Tensor:
        """(B, 1, T, mel bins); four equal ones a clip where the weights fuse features."""
        rate = self.clip_length.sample_rate
        found = self.extractor(list(clips.numpy()), sampling_rate=rate, return_tensors="pt")
        features: Tensor = found["input_features"]
        return features.float()

    @property
    def positions(self) -> int:
        """Tokens that the text model reads at most."""
        return int(self.network.config.text_config.max_position_embeddings) - self.padding_id - 1

    def _tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        width, positions = max(len(row) for row in rows), self.positions
        if width > positions:
            raise DataError(
                f"a text of {width} tokens is longer than the {positions} that the text model has positions for: "
                "shorten it"
            )
        ids = torch.full((len(rows), width), self.padding_id)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        return ids, mask


def load_laion_clap(folder: Path) -> LaionClap:
    """LAION's CLAP in the layout of ``transformers``, its weights mapped from the file.

    Args:
        folder: ``config.json``, ``preprocessor_config.json``, ``tokenizer.json`` and the weights.

    Raises:
        InputMissingError: a file is not there or cannot be read.
        ConfigError: it is another kind of model's, or its sizes make none.
        DataError: a file is damaged, holds code, is of another system, or does not fit.
    """
    state = read_weights(folder)
    demand(LAION_CLAP, state, folder)
    table = read_json(folder / "config.json")
    if table.get("model_type") != "clap":
        raise ConfigError(f"{folder} is a {table.get('model_type')!r} model; it must be clap: give another folder")
    network = unfilled(lambda: ClapModel(ClapConfig.from_dict(table)), folder)
    # Newer versions of transformers count these and write them no more, older ones want them.
    wanted = network.state_dict(keep_vars=True)
    counted = {name: _counted(name, wanted[name]) for name in _COUNTED if name in wanted}
    weights = {name: tensor for name, tensor in state.items() if name not in _COUNTED}
    fit_state(network, {**counted, **weights}, folder)
    fill_constants(network, folder)
    text = network.config.text_config
    if text.pad_token_id is None:
        raise ConfigError(f"{folder} counts positions from its padding token, which it does not name: fetch it again")
    tokenizer = part_tokenizer(folder, text.vocab_size)
    return LaionClap(network.eval().requires_grad_(False), _extractor(folder), tokenizer, text.pad_token_id)


def _counted(name: str, like: Tensor) -> Tensor:
    if name.endswith("position_ids"):
        return torch.arange(like.shape[-1]).expand(like.shape).clone()
    return torch.zeros(like.shape, dtype=torch.long)


def _extractor(folder: Path) -> ClapFeatureExtractor:
    path = folder / "preprocessor_config.json"
    table: dict[str, Any] = read_json(path)
    try:
        return ClapFeatureExtractor(**{name: value for name, value in table.items() if not name.startswith("nb_")})
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(f"{path} describes no feature extractor ({error}): fetch it again") from error
