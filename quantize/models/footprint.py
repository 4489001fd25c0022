"""What a captioner costs: parameters, multiply-accumulates and bytes read, before one of its weights exists.

Counted on the modules themselves, on "meta": 217 million parameters take no memory there. Multiply-accumulates (MACs)
are half the operations that ``torch.utils.flop_counter`` counts: matrix products and convolutions, not what is done
element by element.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edge_aac.errors import ConfigError
from quantize.models.captioner import Captioner
from quantize.models.config import WINDOW_FRAMES, CaptionerConfig, TextEmbedderConfig
from quantize.models.instructor import TextEmbedder

FLOAT_BYTES = 4

# Of the first pattern that the parameter's name begins with.
_PARTS = (
    (r"encoder\.encoder\.", "BEATs layers"),
    (r"encoder\.predictor\.", "BEATs classifier (not run)"),
    (r"encoder\.", "stem"),
    (r"downsample_conv\.|postencoder\.", "Conformer"),
    (r"decoder\.embed_tokens\.|lm_head\.", "token table"),
    (r"decoder\.|cross_embed_positions\.", "decoder"),
    (r"encoder_embed_mlp\.|audio_pooling\.", "audio-embedding head"),
    (r"sound_head\.", "sound classifier"),
)
_TEXT = "text embedder"
# Run once a window, not at every step.
_CROSS_PROJECTIONS = re.compile(r"encoder_attn\.[kv]_proj\.")


@dataclass(frozen=True)
class Footprint:
    """What one model costs.

    Attributes:
        parameters: part → number; together all that are trained, a shared one once.
        buffers: numbers stored beside them (statistics of batch norms, the logits' bias).
        encoder_macs: MACs of a 10 s window, the decoder's cross-attention keys and values and the audio embedding
            included.
        step_macs: MACs of one decoding step of one candidate whose cache is full.
        step_weight_bytes: read once a step, whatever the number of candidates.
        step_cache_bytes: of self-attention, read by all candidates together.
        step_cross_bytes: of cross-attention, one window that all candidates share.
        candidates: for which the bytes are counted.
        cached_tokens: capacity of the cache, for which bytes and MACs of a step are counted.
    """

    parameters: dict[str, int]
    buffers: int
    encoder_macs: int
    step_macs: int
    step_weight_bytes: int
    step_cache_bytes: int
    step_cross_bytes: int
    candidates: int
    cached_tokens: int

    @property
    def total_parameters(self) -> int:
        return sum(self.parameters.values())

    @property
    def step_bytes(self) -> int:
        """Bytes read in one decoding step of all candidates, fp32."""
        return self.step_weight_bytes + self.step_cache_bytes + self.step_cross_bytes

    @property
    def total_bytes(self) -> int:
        """Of all weights, fp32; a file holds its format's own overhead besides."""
        return FLOAT_BYTES * (self.total_parameters + self.buffers)

    def as_dict(self) -> dict[str, int]:
        """Rows of the table in their order, with the unit in each name."""
        return {
            **{f"{part}, parameters": number for part, number in self.parameters.items()},
            "all parameters": self.total_parameters,
            "weights, bytes in fp32": self.total_bytes,
            "encoder, MACs per 10 s window": self.encoder_macs,
            "decoder, MACs per step and candidate": self.step_macs,
            "weights read per step, bytes": self.step_weight_bytes,
            "self-attention cache read per step, bytes": self.step_cache_bytes,
            "cross-attention read per step, bytes": self.step_cross_bytes,
            "all read per step, bytes": self.step_bytes,
        }


def footprint(
    config: CaptionerConfig, text: TextEmbedderConfig | None, candidates: int = 6, cached_tokens: int = 30
) -> Footprint:
    """Count what a captioner of these sizes costs, and its text embedder's parameters where there is one.

    Args:
        config: of the captioner.
        text: of the text embedder; None where there is none.
        candidates: decoded together, at least one.
        cached_tokens: capacity of the self-attention cache, the longest caption that is decoded.

    Raises:
        ConfigError: no candidate, or a cache longer than the decoder has positions for.
    """
    if candidates < 1 or not 1 <= cached_tokens <= config.decoder.max_positions:
        raise ConfigError(
            f"{candidates} candidates of {cached_tokens} tokens cannot be decoded: give at least one candidate, and 1 "
            f"to {config.decoder.max_positions} tokens"
        )
    with torch.device("meta"):
        captioner = Captioner(config).eval()
        parameters = _parameters(captioner)
        if text is not None:
            parameters[_TEXT] = _count(TextEmbedder.from_config(text))
        encoder_macs = macs(lambda: encode_window(captioner))
        step_macs = macs(lambda: _step(captioner, cached_tokens))
    kept_numbers = 2 * config.decoder.layers * config.beats.dim  # keys and values of one token or memory step
    stored = captioner.state_dict()
    return Footprint(
        parameters,
        sum(buffer.numel() for name, buffer in captioner.named_buffers() if name in stored and buffer.ndim),
        encoder_macs,
        step_macs,
        FLOAT_BYTES * _step_weights(captioner, candidates),
        FLOAT_BYTES * kept_numbers * cached_tokens * candidates,
        FLOAT_BYTES * kept_numbers * config.memory_steps,
        candidates,
        cached_tokens,
    )


def macs(run: Callable[[], object]) -> int:
    """Multiply-accumulates of matrix products and convolutions in one call, without gradients."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) // 2


@dataclass(frozen=True)
class Comparison:
    """Teacher and student side by side.

    Attributes:
        rows: name with its unit → (teacher, student).
    """

    rows: dict[str, tuple[int, int]]

    def table(self) -> Table:
        table = Table("", "teacher", "student", "times less", box=None, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for name, (have, want) in self.rows.items():
            table.add_row(name, f"{have:,}", f"{want:,}", f"{have / want:.1f}" if have and want else "-")
        return table


def comparison(teacher: Footprint, student: Footprint) -> Comparison:
    """Rows of both; a part that one of them lacks costs it nothing.

    Raises:
        ConfigError: they are counted for other numbers of candidates or tokens.
    """
    if (teacher.candidates, teacher.cached_tokens) != (student.candidates, student.cached_tokens):
        raise ConfigError(
            "teacher and student are counted for different decoding: give both the same candidates and tokens"
        )
    have, want = teacher.as_dict(), student.as_dict()
    names = [name for name in have if name in want or name.endswith(", parameters")]
    names[names.index("all parameters") : names.index("all parameters")] = [name for name in want if name not in have]
    return Comparison({name: (have.get(name, 0), want.get(name, 0)) for name in names})


def _parameters(captioner: Captioner) -> dict[str, int]:
    parts = dict.fromkeys((part for _, part in _PARTS), 0)
    for name, parameter in captioner.named_parameters():
        part = next(part for pattern, part in _PARTS if re.match(pattern, name))
        parts[part] += parameter.numel()
    return {part: number for part, number in parts.items() if number}


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def encode_window(captioner: Captioner) -> None:
    """Encode one window as the device does, with the keys and values that its decoder attends to: for counting."""
    memory, _, _ = captioner.encode(torch.empty(1, WINDOW_FRAMES, captioner.config.beats.mel_bins))
    captioner.decoder.cross_keys_values(captioner.positioned(memory))


def _step(captioner: Captioner, cached_tokens: int) -> None:
    config = captioner.config
    layers, heads = config.decoder.layers, config.decoder.heads
    size = config.beats.dim // heads
    own = torch.empty(layers, 1, heads, cached_tokens, size)
    cross = torch.empty(layers, 1, heads, config.memory_steps, size)
    padding = torch.zeros(1, config.memory_steps, dtype=torch.bool)
    tokens, step = torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    hidden, _, _ = captioner.decoder.step(tokens, step, (own, own), (cross, cross), padding)
    captioner.lm_head(hidden)


def _step_weights(captioner: Captioner, candidates: int) -> int:
    """Numbers of the weights that a step reads: layers, the whole token table, a row of it for each candidate."""
    decoder = captioner.decoder
    layers = sum(
        parameter.numel()
        for name, parameter in decoder.layers.named_parameters()
        if not _CROSS_PROJECTIONS.search(name)
    )
    rows = (candidates + 1) * captioner.config.beats.dim  # and one position
    bias = captioner.final_logits_bias
    assert isinstance(bias, torch.Tensor)
    return layers + _count(decoder.layernorm_embedding) + captioner.lm_head.weight.numel() + bias.numel() + rows
