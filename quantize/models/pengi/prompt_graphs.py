"""The graph that encodes prompts, of either kind of Pengi."""

from __future__ import annotations

from torch import Tensor, nn

from quantize.models.audio_language.mapper import Mapper
from quantize.models.audio_language.prompted_graphs import one_at_a_time
from quantize.models.graph_modules import GraphSpec, Inputs
from quantize.models.pengi.network import PromptTower


class PromptPrefixGraph(nn.Module):
    """token_ids, attention_mask (N, S) → prefix (N, Q, D), embedding (N, F), of a prompt with a tower of its own."""

    def __init__(self, tower: PromptTower, mapper: Mapper) -> None:
        super().__init__()
        self.tower, self.mapper = tower, mapper

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.tower.stages(token_ids, attention_mask)["embedding"]
        return self.mapper(embedding), embedding


class TokenPrefixGraph(nn.Module):
    """token_ids (N, S) → prefix (N, Q, D), of a prompt that is the decoder's own embeddings; padding takes part."""

    def __init__(self, table: nn.Embedding, mapper: Mapper) -> None:
        super().__init__()
        self.table, self.mapper = table, mapper

    def forward(self, token_ids: Tensor) -> Tensor:
        return self.mapper(self.table(token_ids))


def prompt_prefix_spec(module: PromptPrefixGraph | TokenPrefixGraph, inputs: Inputs) -> GraphSpec:
    """The encoder of a prompt, one at a time, checked on tokens and, where it masks padding, their mask, (N, S)."""
    outputs = ("prefix", "embedding") if isinstance(module, PromptPrefixGraph) else ("prefix",)
    return one_at_a_time(module.eval(), inputs, outputs)
