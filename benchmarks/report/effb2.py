"""EffB2-Trm, the small captioner that a user would pick: EfficientNet-B2 over 64 mels and a decoder of two layers.

Facts of the encoder: Tan & Le, *EfficientNet* (2019), table 1 and the factors of B2 (width 1.1, depth 1.2). Of the
captioner (Xu et al., *Efficient Audio Captioning with Encoder-Level Knowledge Distillation*, 2024): 64 mels of 16 kHz
sound at a hop of 10 ms, a transformer decoder of width 256 with 4 heads, beam search with 3 beams. Weights are random,
which takes the time of trained ones. It runs as such code does: torch in eager mode, each step over all tokens so far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.report.scene import timed, window_samples
from benchmarks.report.worker import Way
from edge_aac.timebase import SAMPLE_RATE
from quantize.models.inverted_residual import rounded

MELS, HOP, FFT = 64, 160, 512
WIDTH, HEADS, LAYERS, FEED_FORWARD, VOCABULARY = 256, 4, 2, 1024, 4981
BEAMS = 3
_WIDTH_FACTOR, _DEPTH_FACTOR = 1.1, 1.2
_STEM, _HEAD = 32, 1280
_SQUEEZE = 4
_START, _END = 1, 2


@dataclass(frozen=True)
class _Stage:
    expansion: int
    kernel: int
    stride: int
    out: int
    repeats: int


# Table 1 of EfficientNet (B0).
_STAGES = (
    _Stage(1, 3, 1, 16, 1),
    _Stage(6, 3, 2, 24, 2),
    _Stage(6, 5, 2, 40, 2),
    _Stage(6, 3, 2, 80, 3),
    _Stage(6, 5, 1, 112, 3),
    _Stage(6, 5, 2, 192, 4),
    _Stage(6, 3, 1, 320, 1),
)


class _Block(nn.Module):
    """An inverted residual with a squeeze of the block's input channels and SiLU."""

    def __init__(self, channels: int, stage: _Stage, out: int, stride: int) -> None:
        super().__init__()
        wide = channels * stage.expansion
        squeezed = max(1, channels // _SQUEEZE)
        self.expand = _convolved(channels, wide, 1) if stage.expansion > 1 else nn.Identity()
        self.depthwise = _convolved(wide, wide, stage.kernel, stride, wide)
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide, squeezed, 1), nn.SiLU(), nn.Conv2d(squeezed, wide, 1), nn.Sigmoid()
        )
        self.project = nn.Sequential(nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out))
        self.adds = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        wide = self.depthwise(self.expand(x))
        projected: Tensor = self.project(wide * self.squeeze(wide))
        return x + projected if self.adds else projected


def _convolved(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.SiLU())


class EffB2Trm(nn.Module):
    """Waveforms to captions. The parts are public for what counts them."""

    mel_bank: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        channels = rounded(_STEM * _WIDTH_FACTOR)
        layers: list[nn.Module] = [_convolved(1, channels, 3, 2)]
        for stage in _STAGES:
            out = rounded(stage.out * _WIDTH_FACTOR)
            for number in range(math.ceil(stage.repeats * _DEPTH_FACTOR)):
                layers.append(_Block(channels, stage, out, stage.stride if number == 0 else 1))
                channels = out
        self.features_out = rounded(_HEAD * _WIDTH_FACTOR)
        layers.append(_convolved(channels, self.features_out, 1))
        self.encoder = nn.Sequential(*layers)
        self.to_decoder = nn.Linear(self.features_out, WIDTH)
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        layer = nn.TransformerDecoderLayer(WIDTH, HEADS, FEED_FORWARD, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, LAYERS)
        self.to_tokens = nn.Linear(WIDTH, VOCABULARY)
        # Filters of equal width stand for mel filters: they cost the same.
        self.register_buffer("mel_bank", torch.rand(MELS, FFT // 2 + 1) / FFT)
        self.register_buffer("window", torch.hann_window(FFT))

    def mel(self, waveform: Tensor) -> Tensor:
        """Log spectrogram (B, 64, T) of waveforms (B, N) at 16 kHz."""
        spectrum = torch.stft(waveform, FFT, HOP, window=self.window, return_complex=True)
        return (self.mel_bank @ spectrum.abs().square()).clamp(min=1e-10).log10()

    def encode(self, mel: Tensor) -> Tensor:
        """(B, 64, T) → memory (B, T // 32, 256)."""
        maps: Tensor = self.encoder(mel.transpose(1, 2)[:, None])
        memory: Tensor = self.to_decoder(maps.mean(3).transpose(1, 2))
        return memory

    def logits(self, ids: Tensor, memory: Tensor) -> Tensor:
        """Logits (N, V) of the token after ids (N, S)."""
        length = ids.shape[1]
        causal = nn.Transformer.generate_square_subsequent_mask(length)
        places = _positions(length)
        hidden = self.decoder(self.tokens(ids) * math.sqrt(WIDTH) + places, memory, tgt_mask=causal)
        last: Tensor = self.to_tokens(hidden[:, -1])
        return last

    def beam_search(self, memory: Tensor, tokens: int) -> Tensor:
        """The best of three beams for one window: ids (tokens,), no end before the last one."""
        ids = torch.full((1, 1), _START)
        scores = torch.zeros(1)
        for _ in range(tokens - 2):
            rows = memory.expand(len(ids), -1, -1)
            likely = functional.log_softmax(self.logits(ids, rows), dim=-1)
            likely[:, _END] = float("-inf")
            summed = (scores[:, None] + likely).flatten()
            scores, places = summed.topk(BEAMS)
            parents = torch.div(places, VOCABULARY, rounding_mode="floor")
            ids = torch.cat([ids[parents], (places % VOCABULARY)[:, None]], dim=1)
        # The step that finds the end is taken by all beams.
        ends = functional.log_softmax(self.logits(ids, memory.expand(len(ids), -1, -1)), dim=-1)[:, _END]
        best = int((scores + ends).argmax())
        return torch.cat([ids[best], torch.tensor([_END])])


def _positions(length: int) -> Tensor:
    """Sinusoidal positions (length, 256) of Vaswani et al. (2017)."""
    places = torch.arange(length)[:, None] * torch.exp(torch.arange(0, WIDTH, 2) * (-math.log(1e4) / WIDTH))
    return torch.stack([places.sin(), places.cos()], dim=2).flatten(1)


def effb2(threads: int, tokens: int) -> Way:
    """The captioner in torch's eager mode.

    Args:
        threads: of torch.
        tokens: length of the caption, start and end counted.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = EffB2Trm().eval()

    @torch.no_grad()
    def run(index: int) -> Mapping[str, float]:
        waveform = torch.from_numpy(window_samples(index))[None]
        features_ms, mel = timed(lambda: model.mel(waveform))
        encode_ms, memory = timed(lambda: model.encode(mel))
        decode_ms, _ = timed(lambda: model.beam_search(memory, tokens))
        return {"features": features_ms, "encode": encode_ms, "decode": decode_ms}

    parameters = sum(parameter.numel() for parameter in model.parameters())
    seconds = len(window_samples(0)) // SAMPLE_RATE
    return Way(
        run, {"parameters": parameters, "candidates": BEAMS, "tokens": tokens, "precision": "fp32", "window_s": seconds}
    )
