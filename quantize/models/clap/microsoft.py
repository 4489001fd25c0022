"""Microsoft's CLAP of 2023: HTSAT and GPT-2, whose state at the end token is the text's (arXiv 2309.05767)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import GPT2Config

from edge_aac.errors import DataError
from quantize.models.audio_language.audio_stages import AudioSettings
from quantize.models.audio_language.gpt2_text import PADDING_ID, Gpt2Text
from quantize.models.audio_language.language_models import text_gpt2
from quantize.models.audio_language.projection import AudioTower, Projection
from quantize.models.clap.text_stages import ClapStages
from quantize.models.config import at_least_one
from quantize.models.htsat.config import HtsatConfig


@dataclass(frozen=True)
class ClapSettings(AudioSettings):
    """The published settings of CLAP.

    Attributes:
        text_model: folder of GPT-2.
        text_len: tokens that texts are padded to.
    """

    text_model: str = "gpt2"
    text_len: int = 77

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "text_len")


class TextTower(nn.Module):
    """GPT-2 read at a text's end, and a projection.

    Args:
        config: of GPT-2.
        dim: of the embedding.
    """

    def __init__(self, config: GPT2Config, dim: int) -> None:
        super().__init__()
        self.base = text_gpt2(config)
        self.projection = Projection(config.n_embd, dim)

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(N, S) int64 each → (N, D), not normalised."""
        return self.stages(token_ids, attention_mask)["embedding"]

    def stages(self, token_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """``hidden`` (N, S, W) behind the final layer norm, ``pool_index`` (N,), ``pooled`` (N, W), ``embedding``.

        The state is that at the number of ids other than 0, less one: the end token's, unless the text holds a "!",
        each of which moves it one to the left, as published.
        """
        hidden = self.base(input_ids=token_ids, attention_mask=attention_mask).last_hidden_state
        index = (token_ids != PADDING_ID).sum(dim=-1) - 1
        pooled = hidden[torch.arange(len(hidden)), index]
        return {"hidden": hidden, "pool_index": index, "pooled": pooled, "embedding": self.projection(pooled)}


class ClapNetwork(nn.Module):
    """Both towers and the scale of their similarity; attribute names are the published keys.

    Args:
        htsat: sizes of the audio encoder.
        gpt2: sizes of the text encoder.
        dim: of the space that they share.
    """

    def __init__(self, htsat: HtsatConfig, gpt2: GPT2Config, dim: int) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.audio_encoder = AudioTower(htsat, dim)
        self.caption_encoder = TextTower(gpt2, dim)


class Clap(ClapStages):
    """Stages of CLAP, without gradients; see ``quantize.load_clap`` and
    :class:`quantize.models.clap.contract.SoundTextModel`.

    Embeddings are not normalised.

    Args:
        network: in evaluation mode.
        text: its tokens.
        settings: the published ones.
    """

    network: ClapNetwork

    def __init__(self, network: ClapNetwork, text: Gpt2Text, settings: ClapSettings) -> None:
        tower = network.audio_encoder
        super().__init__(tower, settings.clip_length(tower.htsat.config))
        self.network, self.text, self.settings = network, text, settings

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask, (N, S) int64, padded to ``text_len`` or to the longest text.

        The published code raises where a longer text stands beside others; alone in its batch it runs as it does here.

        Raises:
            DataError: a text has more tokens than GPT-2 has positions.
        """
        ids, mask = self.text.batch(texts, self.settings.text_len)
        positions = self.network.caption_encoder.base.config.n_positions
        if ids.shape[1] > positions:
            raise DataError(
                f"a text of {ids.shape[1]} tokens is longer than the {positions} that GPT-2 has positions for: "
                "shorten it"
            )
        return ids, mask
