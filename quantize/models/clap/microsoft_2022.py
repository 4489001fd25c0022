"""Microsoft's CLAP of 2022: Cnn14 and BERT, whose first state is the text's (Elizalde et al., arXiv 2206.04769)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModel, BertConfig, BertModel

from edge_aac.errors import ConfigError, DataError
from quantize.models.audio_language.clips import ClipLength
from quantize.models.audio_language.projection import Projection
from quantize.models.clap.cnn14 import Cnn14Sizes, CnnTower
from quantize.models.clap.text_stages import ClapStages
from quantize.models.config import above_zero, at_least_one


@dataclass(frozen=True)
class Clap2022Settings:
    """The published settings of CLAP of 2022. ``n_fft`` (1028) and the band of its file are read by nothing.

    Attributes:
        audioenc_name: the audio encoder.
        sampling_rate: in Hz.
        duration: seconds of a clip.
        window_size: samples of a frame.
        hop_size: samples from frame to frame.
        text_model: folder of BERT.
        text_len: tokens that texts are padded to.
    """

    audioenc_name: Literal["Cnn14"] = "Cnn14"
    sampling_rate: int = 44_100
    duration: float = 5
    window_size: int = 1024
    hop_size: int = 320
    text_model: str = "bert-base-uncased"
    text_len: int = 100

    def __post_init__(self) -> None:
        at_least_one(self, "sampling_rate", "window_size", "hop_size", "text_len")
        above_zero(self, "duration")

    def clip_length(self, blocks: int) -> ClipLength:
        """The clip that Cnn14 hears, with so many blocks.

        Raises:
            ConfigError: it has fewer samples than half a frame, or too few frames to be halved as often.
        """
        samples = int(self.duration * self.sampling_rate)
        if samples <= self.window_size // 2 or samples // self.hop_size + 1 < 1 << (blocks - 1):
            raise ConfigError(f"a clip of {samples} samples is too short for {blocks} blocks: correct config_2022.yml")
        return ClipLength(self.sampling_rate, samples)


class BertTower(nn.Module):
    """BERT read at its first token, and a projection.

    Args:
        config: of BERT.
        dim: of the embedding.
    """

    def __init__(self, config: BertConfig, dim: int) -> None:
        super().__init__()
        # Plain attention: what ONNX writes does not depend on the kernels of this machine.
        self.base: BertModel = AutoModel.from_config(config, attn_implementation="eager", add_pooling_layer=False)
        self.projection = Projection(config.hidden_size, dim)

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(N, S) int64 each → (N, D), not normalised."""
        return self.stages(token_ids, attention_mask)["embedding"]

    def stages(self, token_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """``hidden`` (N, S, W), ``pooled`` (N, W), the first token's, and ``embedding`` (N, D)."""
        hidden = self.base(input_ids=token_ids, attention_mask=attention_mask).last_hidden_state
        pooled = hidden[:, 0]
        return {"hidden": hidden, "pooled": pooled, "embedding": self.projection(pooled)}


class Clap2022Network(nn.Module):
    """Both towers and the scale of their similarity; attribute names are the published keys.

    Args:
        cnn14: sizes of the audio encoder.
        bert: sizes of the text encoder.
        dim: of the space that they share.
    """

    def __init__(self, cnn14: Cnn14Sizes, bert: BertConfig, dim: int) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.audio_encoder = CnnTower(cnn14, dim)
        self.caption_encoder = BertTower(bert, dim)


class Clap2022(ClapStages):
    """Stages of CLAP of 2022, without gradients; see ``quantize.load_clap`` and
    :class:`quantize.models.clap.contract.SoundTextModel`.

    Embeddings are not normalised.

    Args:
        network: in evaluation mode.
        tokenizer: BERT's; it neither pads nor cuts.
        settings: the published ones.
    """

    network: Clap2022Network

    def __init__(self, network: Clap2022Network, tokenizer: Tokenizer, settings: Clap2022Settings) -> None:
        tower = network.audio_encoder
        super().__init__(tower, settings.clip_length(len(tower.base.sizes.widths)))
        self.network, self.tokenizer, self.settings = network, tokenizer, settings

    @property
    def positions(self) -> int:
        """Tokens that BERT reads at most."""
        return int(self.network.caption_encoder.base.config.max_position_embeddings)

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask, (N, S) int64, padded to ``text_len`` or to the longest text.

        The published code raises where a longer text stands beside others; alone in its batch it runs as it does here.

        Raises:
            DataError: a text has more tokens than BERT has positions.
        """
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        width = max([self.settings.text_len, *(len(row) for row in rows)])
        longest = max(len(row) for row in rows)
        if longest > self.positions:
            raise DataError(
                f"a text of {longest} tokens is longer than the {self.positions} that BERT has positions for: "
                "shorten it"
            )
        ids = torch.full((len(rows), width), self.network.caption_encoder.base.config.pad_token_id or 0)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        return ids, mask
