"""Text embedder: a T5 encoder, masked mean pooling, a projection and L2 normalisation.

The construction of INSTRUCTOR (Su et al., 2022); ours is a small one, trained together with the audio encoder.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from transformers import T5Config, T5EncoderModel

from quantize.models.config import TextEmbedderConfig


class TextEmbedder(nn.Module):
    """Token ids in, unit-length sentence embeddings out."""

    def __init__(self, config: TextEmbedderConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = T5EncoderModel(
            T5Config(
                vocab_size=config.vocab_size,
                d_model=config.dim,
                d_kv=config.head_dim,
                num_heads=config.heads,
                d_ff=config.ffn_dim,
                num_layers=config.layers,
                feed_forward_proj="gated-gelu",
                dropout_rate=config.dropout,
                pad_token_id=config.pad_token_id,
                use_cache=False,
            )
        )
        self.dense = nn.Linear(config.dim, config.embedding_dim, bias=False)

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed texts.

        Args:
            token_ids: (N, S) int64.
            attention_mask: (N, S), 1 where a token stands, 0 for padding.

        Returns:
            (N, embedding_dim), L2-normalised.
        """
        hidden = self.transformer(input_ids=token_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
        return functional.normalize(self.dense(pooled), dim=-1)
