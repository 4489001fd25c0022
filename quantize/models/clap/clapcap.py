"""clapcap: CLAP's audio tower, a mapper and GPT-2 write a caption (Elizalde et al., arXiv 2309.05767)."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import GPT2Config

from quantize.models.audio_language.audio_stages import AudioSettings, AudioStages, unit
from quantize.models.audio_language.beam_search import SearchRules
from quantize.models.audio_language.clips import Waveforms
from quantize.models.audio_language.gpt2_text import Gpt2Text
from quantize.models.audio_language.language_models import writing_gpt2
from quantize.models.audio_language.mapper import Mapper
from quantize.models.audio_language.prefix_writer import Generated, PrefixWriter
from quantize.models.audio_language.projection import AudioTower
from quantize.models.htsat.config import HtsatConfig


@dataclass(frozen=True)
class ClapcapSettings(AudioSettings):
    """The published settings of clapcap; lengths and layers of its mapper are told by the weights.

    Attributes:
        text_decoder: folder of GPT-2.
        mapping_type: only the published kind of mapper is read.
        normalize_prefix: whether the embedding is divided by its norm before it is mapped.
    """

    text_decoder: str = "gpt2"
    mapping_type: Literal["transformer"] = "transformer"
    normalize_prefix: bool = True


@dataclass(frozen=True)
class MapperSizes:
    """Of a mapper; see :class:`quantize.models.audio_language.mapper.Mapper`."""

    length: int
    prefix: int
    layers: int


class ClapcapNetwork(nn.Module):
    """Audio tower, mapper and GPT-2; attribute names are the published keys.

    Args:
        htsat: sizes of the audio encoder.
        dim: of its embedding.
        mapper: sizes of the mapper.
        gpt2: sizes of the decoder.
    """

    def __init__(self, htsat: HtsatConfig, dim: int, mapper: MapperSizes, gpt2: GPT2Config) -> None:
        super().__init__()
        self.clap = AudioTower(htsat, dim)
        self.clap_project = Mapper(dim, mapper.length, mapper.prefix, gpt2.n_embd, mapper.layers)
        self.gpt = writing_gpt2(gpt2)


class Clapcap(AudioStages):
    """Stages of clapcap, without gradients; see ``quantize.load_clapcap``.

    Args:
        network: in evaluation mode.
        text: GPT-2's tokens.
        settings: the published ones.
    """

    def __init__(self, network: ClapcapNetwork, text: Gpt2Text, settings: ClapcapSettings) -> None:
        super().__init__(network.clap, settings.clip_length(network.clap.htsat.config))
        self.network, self.settings = network, settings
        self.writer = PrefixWriter(network.gpt, text)

    def prefix(self, waveform: Waveforms, rng: random.Random | None = None) -> Tensor:
        """The vectors that GPT-2 goes on from, (B, P, D).

        Args:
            waveform: see :meth:`quantize.models.audio_language.clips.ClipLength.batch`.
            rng: draws where longer ones are cut; None cuts at the beginning.
        """
        return self.mapper_stages(self.embed_audio(waveform, rng))["prefix"]

    @torch.no_grad()
    def mapper_stages(self, embedding: Tensor) -> dict[str, Tensor]:
        """What an embedding (B, E) from :meth:`embed_audio` becomes.

        Returns:
            ``mapper_input`` (B, E), ``mapper_linear``, ``mapper_layerN``, and ``prefix`` (B, P, D).
        """
        given = unit(embedding) if self.settings.normalize_prefix else embedding
        found = self.network.clap_project.stages(given)
        prefix = found.pop("prefix")
        return {"mapper_input": given, **{f"mapper_{name}": value for name, value in found.items()}, "prefix": prefix}

    def logits(self, prefix: Tensor, token_ids: Tensor) -> Tensor:
        """Teacher-forced logits (B, P + S, V) behind a prefix (B, P, D) of tokens (B, S); no mask.

        Raises:
            DataError: they are longer than GPT-2 has positions.
        """
        return self.writer.logits(prefix, token_ids)

    def generate(
        self,
        waveform: Waveforms,
        beams: int = 5,
        max_length: int = 67,
        temperature: float = 1.0,
        rng: random.Random | None = None,
    ) -> list[Generated]:
        """Captions of waveforms.

        The best text of each is capitalised as published: its first letter is put in upper case, all others in lower.

        Args:
            waveform, rng: see :meth:`prefix`.
            beams: texts that are kept at each step; 1 is greedy.
            max_length: tokens of a text.
            temperature: divides the logits; far below 1 most candidates score −∞ and only the best text means anything.

        Raises:
            ConfigError: one of these is unusable.
            DataError: a waveform is unusable, or the text would be longer than GPT-2 has positions.
        """
        rules = SearchRules(beams, max_length, temperature)
        return [
            replace(found, texts=(found.texts[0].capitalize(), *found.texts[1:]))
            for found in self.writer.write(self.prefix(waveform, rng), rules)
        ]
