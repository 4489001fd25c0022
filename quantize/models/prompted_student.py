"""A captioner's encoder, and a small language model that answers prompts about what it hears.

The prefix is a vector for each step of the memory and one for each token of the prompt, padding included; the answer
follows, as in Pengi (Deshmukh et al., 2023). Tasks and questions are told apart by the words of the prompt alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from edge_aac.errors import ConfigError
from quantize.models.captioner import Captioner
from quantize.models.config import at_least_one, within
from quantize.models.filter_bank import FilterBankGraph


@dataclass(frozen=True)
class PromptedConfig:
    """Sizes of the language model.

    Attributes:
        vocab_size: tokens of prompts and answers.
        dim, layers, heads: of a GPT-2.
        prompt_tokens: that a prompt is cut and padded to.
        answer_tokens: of the longest answer, its end counted.
        end_id: token that ends an answer.
    """

    vocab_size: int = 1600
    dim: int = 160
    layers: int = 3
    heads: int = 4
    prompt_tokens: int = 28
    answer_tokens: int = 36
    end_id: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        at_least_one(self, "vocab_size", "dim", "layers", "heads", "prompt_tokens")
        within(self, "answer_tokens", 2, 512)
        within(self, "dropout", 0.0, 1.0)
        if self.dim % self.heads:
            raise ConfigError(f"the width {self.dim} is not a multiple of the {self.heads} heads")


class PromptedWriter(nn.Module):
    """What is trained: the language model, and the map from the encoder's memory to its width.

    Args:
        config: sizes.
        memory_dim, memory_steps: of the encoder.
    """

    def __init__(self, config: PromptedConfig, memory_dim: int, memory_steps: int) -> None:
        super().__init__()
        self.config = config
        self.positions = memory_steps + config.prompt_tokens + config.answer_tokens
        self.sound = nn.Linear(memory_dim, config.dim)
        self.gpt = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=config.vocab_size,
                n_positions=self.positions,
                n_embd=config.dim,
                n_layer=config.layers,
                n_head=config.heads,
                activation_function="gelu_pytorch_tanh",  # the same function as GPT-2's "gelu_new", in one kernel
                resid_pdrop=config.dropout,
                embd_pdrop=config.dropout,
                attn_pdrop=0.0,
                bos_token_id=config.end_id,
                eos_token_id=config.end_id,
                attn_implementation="eager",  # in bf16 on a processor torch's fused kernel goes back slowly
            )
        )

    def prefix(self, memory: Tensor, prompt_ids: Tensor) -> Tensor:
        """Memories (R, T, D') and prompts (R, P) → prefixes (R, T + P, dim)."""
        return torch.cat([self.sound(memory), self.gpt.transformer.wte(prompt_ids)], dim=1)

    def forward(self, memory: Tensor, prompt_ids: Tensor, answer_ids: Tensor) -> Tensor:
        """Teacher-forced logits of every token of the answers.

        Args:
            memory: (B, T, D'), of B scenes.
            prompt_ids: (R, P), R a multiple of B: the prompts about the first scene come first.
            answer_ids: (R, S), padded.

        Returns:
            (R, S, vocab_size).
        """
        memory = memory.repeat_interleave(len(prompt_ids) // len(memory), dim=0)
        prefix = self.prefix(memory, prompt_ids)
        read = torch.cat([prefix, self.gpt.transformer.wte(answer_ids[:, :-1])], dim=1)
        hidden = self.gpt.transformer(inputs_embeds=read, use_cache=False).last_hidden_state
        logits: Tensor = self.gpt.lm_head(hidden[:, prefix.shape[1] - 1 :])
        return logits

    @torch.no_grad()
    def greedy(self, memory: Tensor, prompt_ids: Tensor) -> Tensor:
        """The likeliest token at each step, (R, ≤ answer_tokens) for memories (R, T, D') and prompts (R, P)."""
        read, end = self.prefix(memory, prompt_ids), self.config.end_id
        ended = torch.zeros(len(read), dtype=torch.bool)
        found: list[Tensor] = []
        while len(found) < self.config.answer_tokens and not ended.all():
            hidden = self.gpt.transformer(inputs_embeds=read, use_cache=False).last_hidden_state[:, -1]
            chosen = self.gpt.lm_head(hidden).argmax(dim=-1).masked_fill(ended, end)
            ended |= chosen == end
            found.append(chosen)
            read = torch.cat([read, self.gpt.transformer.wte(chosen[:, None])], dim=1)
        return torch.stack(found, dim=1)


class PromptedEncoderGraph(nn.Module):
    """waveform (1, samples) → audio_embedding (1, E), prefix (1, T, dim).

    Args:
        captioner: hears; in evaluation mode.
        sound: maps its memory to the language model's width.
    """

    def __init__(self, captioner: Captioner, sound: nn.Linear) -> None:
        super().__init__()
        self.filter_bank = FilterBankGraph()
        self.captioner, self.sound = captioner, sound

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        memory, _, audio_embedding = self.captioner.encode(self.filter_bank(waveform))
        return audio_embedding, self.sound(memory)


class PromptTableGraph(nn.Module):
    """token_ids (1, P) → prefix (1, P, dim): a prompt is the language model's own tokens, padding included."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.table = table

    def forward(self, token_ids: Tensor) -> Tensor:
        rows: Tensor = self.table(token_ids)
        return rows
