"""All CLAPs as a bundle has them: the graphs of their towers, and what the runtime computes before and behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from quantize.models.audio_language.audio_stages import unit
from quantize.models.audio_language.gpt2_text import END, PADDING_ID
from quantize.models.audio_language.projection import AudioTower
from quantize.models.clap.cnn14 import CnnTower
from quantize.models.clap.contract import SoundTextModel
from quantize.models.clap.laion import LaionClap
from quantize.models.clap.microsoft import Clap, TextTower
from quantize.models.clap.microsoft_2022 import BertTower, Clap2022
from quantize.models.graph_modules import GraphSpec

_PROMPT = "this is a sound of {}"
"""As in the examples of Microsoft's CLAP; LAION's is trained with several."""


@dataclass(frozen=True)
class BundleFacts:
    """What a manifest states of a CLAP.

    Attributes:
        fft, hop: of the log-mel.
        filters: (fft // 2 + 1, M) float32.
        embedding_size: E.
        tokenizer: of the text tower; it neither pads nor cuts.
        suffix: behind every text.
        max_tokens: of a text with its suffix.
        logit_scale: factor of the cosines.
        prompt: text around a label.
        parameters: of both towers.
    """

    fft: int
    hop: int
    filters: npt.NDArray[np.float32]
    embedding_size: int
    tokenizer: Tokenizer
    suffix: str
    max_tokens: int
    logit_scale: float
    prompt: str
    parameters: dict[str, int]


def bundle_facts(model: SoundTextModel) -> BundleFacts:
    """The facts of a loaded CLAP, Microsoft's or LAION's."""
    if isinstance(model, LaionClap):
        extractor, network = model.extractor, model.network
        # As the extractor itself chooses for sound that is no longer than a clip.
        bank = extractor.mel_filters if extractor.truncation == "fusion" else extractor.mel_filters_slaney
        return BundleFacts(
            fft=extractor.fft_window_size,
            hop=extractor.hop_length,
            filters=np.asarray(bank, np.float32),
            embedding_size=network.config.projection_dim,
            tokenizer=model.tokenizer,
            suffix="",
            max_tokens=model.positions,
            logit_scale=float(network.logit_scale_a.detach().exp()),
            prompt=_PROMPT,
            parameters=_counted(
                (network.audio_model, network.audio_projection), (network.text_model, network.text_projection)
            ),
        )
    if isinstance(model, Clap2022):
        audio, text = model.network.audio_encoder, model.network.caption_encoder
        return BundleFacts(
            fft=audio.base.fft,
            hop=audio.base.hop,
            filters=audio.base.logmel_extractor["melW"].detach().numpy(),
            embedding_size=audio.projection.linear2.out_features,
            tokenizer=model.tokenizer,
            suffix="",
            max_tokens=model.positions,
            logit_scale=float(model.network.logit_scale.detach().exp()),
            prompt=_PROMPT,
            parameters=_counted((audio,), (text,)),
        )
    assert isinstance(model, Clap), "there is no other CLAP"
    towers = model.network
    config = towers.audio_encoder.htsat.config
    return BundleFacts(
        fft=config.fft,
        hop=config.hop,
        filters=towers.audio_encoder.htsat.logmel_extractor["melW"].detach().numpy(),
        embedding_size=towers.audio_encoder.projection.linear2.out_features,
        tokenizer=model.text.tokenizer,
        suffix=END,
        max_tokens=towers.caption_encoder.base.config.n_positions,
        logit_scale=float(towers.logit_scale.detach().exp()),
        prompt=_PROMPT,
        parameters=_counted((towers.audio_encoder,), (towers.caption_encoder,)),
    )


def _counted(audio: Sequence[nn.Module], text: Sequence[nn.Module]) -> dict[str, int]:
    return {
        role: sum(parameter.numel() for part in parts for parameter in part.parameters())
        for role, parts in (("encoder", audio), ("text_embedder", text))
    }


class HtsatGraph(nn.Module):
    """log_mel (W, T, M) in dB → audio_embedding (W, E) of Microsoft's, not normalised.

    Without what comes before the log-mel and what the embedding does not need.
    """

    def __init__(self, tower: AudioTower) -> None:
        super().__init__()
        for unused in ("spectrogram_extractor", "logmel_extractor", "tscam_conv", "head"):
            delattr(tower.htsat, unused)
        self.tower = tower

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.tower.projection(self.tower.htsat.of_log_mel(log_mel[:, None]))


class CnnGraph(nn.Module):
    """log_mel (W, T, M) in dB → audio_embedding (W, E) of Microsoft's of 2022, not normalised."""

    def __init__(self, tower: CnnTower) -> None:
        super().__init__()
        for unused in ("spectrogram_extractor", "logmel_extractor", "fc_audioset"):
            delattr(tower.base, unused)
        self.tower = tower

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.tower.projection(self.tower.base.of_log_mel(log_mel[:, None]))


class FirstTokenGraph(nn.Module):
    """token_ids, attention_mask (N, S) → embedding (N, E) of the text tower of 2022, of unit length."""

    def __init__(self, tower: BertTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return unit(self.tower(token_ids, attention_mask))


class EndTokenGraph(nn.Module):
    """token_ids, attention_mask (N, S) → embedding (N, E) of Microsoft's text tower, of unit length."""

    def __init__(self, tower: TextTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.tower.base(input_ids=token_ids, attention_mask=attention_mask).last_hidden_state
        # As TextTower has it, in operators whose sizes stay open.
        index = ((token_ids != PADDING_ID) & (attention_mask != 0)).long().sum(dim=-1) - 1
        pooled = hidden.gather(1, index[:, None, None].expand(-1, 1, hidden.shape[-1]))[:, 0]
        return unit(self.tower.projection(pooled))


class LaionAudioGraph(nn.Module):
    """log_mel (W, T, M) in dB → audio_embedding (W, E) of LAION's, of unit length."""

    def __init__(self, model: LaionClap) -> None:
        super().__init__()
        self.audio_model, self.projection = model.network.audio_model, model.network.audio_projection
        self._channels = 4 if model.network.config.audio_config.enable_fusion else 1

    def forward(self, log_mel: Tensor) -> Tensor:
        features = log_mel[:, None].expand(-1, self._channels, -1, -1)
        # Of longer sound one clip is heard, so none is fused with others.
        longer = torch.zeros(1, 1, dtype=torch.bool)
        pooled = self.audio_model(input_features=features, is_longer=longer).pooler_output
        return nn.functional.normalize(self.projection(pooled), dim=-1)


class LaionTextGraph(nn.Module):
    """token_ids, attention_mask (N, S) → embedding (N, E) of LAION's text tower, of unit length."""

    def __init__(self, model: LaionClap) -> None:
        super().__init__()
        self.text_model, self.projection = model.network.text_model, model.network.text_projection
        self._padding_id = model.padding_id

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        # RoBERTa counts positions by what is no padding.
        ids = torch.where(attention_mask == 0, self._padding_id, token_ids)
        pooled = self.text_model(input_ids=ids, attention_mask=attention_mask).pooler_output
        return nn.functional.normalize(self.projection(pooled), dim=-1)


@torch.no_grad()
def audio_spec(model: SoundTextModel, clips: Tensor) -> GraphSpec:
    """The audio tower, checked on the log-mel of clips (at least two, (B, samples)); the model is used up."""
    log_mel = model.log_mel(clips)[:, 0]
    module: nn.Module
    if isinstance(model, LaionClap):
        module = LaionAudioGraph(model)
    elif isinstance(model, Clap2022):
        module = CnnGraph(model.network.audio_encoder)
    else:
        assert isinstance(model, Clap), "there is no other CLAP"
        module = HtsatGraph(model.network.audio_encoder)
    whole, one = {"log_mel": log_mel}, {"log_mel": log_mel[:1]}
    axes = {name: {0: "windows"} for name in ("log_mel", "audio_embedding")}
    return GraphSpec(module.eval(), one, ("audio_embedding",), axes, lambda: iter((one, whole)))


def text_module(model: SoundTextModel) -> nn.Module:
    """The text tower as a graph has it."""
    if isinstance(model, LaionClap):
        return LaionTextGraph(model)
    if isinstance(model, Clap2022):
        return FirstTokenGraph(model.network.caption_encoder)
    assert isinstance(model, Clap), "there is no other CLAP"
    return EndTokenGraph(model.network.caption_encoder)
