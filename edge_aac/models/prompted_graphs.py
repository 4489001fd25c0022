"""What the graphs of a bundle of the kind "prompted" take and give, and a trial of each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from edge_aac.engines.contract import Engine, LoadedEngine
from edge_aac.models.graph_contracts import GraphContract, TensorContract
from edge_aac.models.prefix_search import PrefixDecoder
from edge_aac.models.prompted_manifest import PROMPT_ENCODER
from edge_aac.models.trial import Trial

Array = npt.NDArray[np.float32]
_FLOAT, _INTEGER = "float32", "int64"
_WIDTH = "decoder width"


def encoder_contract(samples: int) -> GraphContract:
    """An encoder of clips of so many samples, one at a time."""
    return GraphContract(
        {"waveform": TensorContract(_FLOAT, (1, samples))},
        {
            "audio_embedding": TensorContract(_FLOAT, (1, "embedding_size")),
            "prefix": TensorContract(_FLOAT, (1, "vectors of sound", _WIDTH)),
        },
    )


def prompt_encoder_contract(length: int) -> GraphContract:
    """An encoder of prompts of so many tokens, one at a time."""
    tokens = (1, length)
    return GraphContract(
        {"token_ids": TensorContract(_INTEGER, tokens), "attention_mask": TensorContract(_INTEGER, tokens, True)},
        {
            "prefix": TensorContract(_FLOAT, (1, "vectors of a prompt", _WIDTH)),
            "embedding": TensorContract(_FLOAT, (1, "text embedding size"), True),
        },
    )


def decoder_contract(engine: LoadedEngine) -> GraphContract:
    """A decoder of as many layers as the engine's has; see :class:`edge_aac.models.prefix_search.PrefixDecoder`."""
    layers = max(1, sum(name.startswith("self_keys_") for name in engine.description.inputs))
    cache = TensorContract(_FLOAT, ("rows", "heads", "tokens", "head size"))
    new = TensorContract(_FLOAT, (layers, "rows", "heads", "tokens", "head size"))
    return GraphContract(
        {
            "prefix": TensorContract(_FLOAT, ("rows", "tokens", _WIDTH)),
            "token_ids": TensorContract(_INTEGER, ("rows", "tokens")),
            "step": TensorContract(_INTEGER, (1,)),
            **{f"self_{name}_{layer}": cache for name in ("keys", "values") for layer in range(layers)},
        },
        {"logits": TensorContract(_FLOAT, ("rows", "vocabulary_size")), "new_keys": new, "new_values": new},
    )


class PromptedTrial(Trial):
    """Runs the graphs of a bundle once; what fails is a contradiction between its parts."""

    def hear(self, encoder: Engine, samples: int, embedding_size: int, width: int) -> Array:
        """Encode a clip of noise; gives its prefix (P, ``width``).

        Raises:
            DataError: the encoder cannot, or gives other shapes, or no numbers.
        """
        clip = np.random.default_rng(0).normal(0.0, 0.1, (1, samples)).astype(np.float32)
        found = self._run("encoder", "a clip", lambda: encoder.run({"waveform": clip}))
        self._check("encoder", "audio_embedding", found["audio_embedding"], (1, embedding_size))
        return self._prefix("encoder", found, width)

    def read_prompt(self, encode: Callable[[], Mapping[str, Array]], width: int) -> Array:
        """Encode the bundle's prompt; gives its prefix (Q, ``width``).

        Raises:
            DataError: as :meth:`hear`.
        """
        return self._prefix(PROMPT_ENCODER, self._run(PROMPT_ENCODER, "its prompt", encode), width)

    def write(self, decoder: PrefixDecoder, prefix: Array, positions: int, vocabulary_size: int) -> None:
        """Have the decoder read a prefix, and then behind it its last token at every position of the longest answer.

        Args:
            decoder: the decoder.
            prefix: (N, D).
            positions: positions of the prefix and the longest answer.
            vocabulary_size: number of tokens, as the manifest states it.

        Raises:
            DataError: it cannot, or gives other logits than the manifest states, or no numbers.
        """
        last = [vocabulary_size - 1] * (positions - len(prefix))
        stated = f"{positions} positions of prefix and answer, or the last token of vocabulary_size {vocabulary_size},"
        for given, tokens in (("a prefix", []), (stated, last)):
            decoder.open(1, positions)
            logits = self._run("decoder", given, partial(decoder.read, prefix, tokens))
            self._check("decoder", "logits", logits, (1, vocabulary_size))

    def _prefix(self, role: str, found: Mapping[str, Array], width: int) -> Array:
        prefix = found["prefix"]
        self._check(role, "prefix", prefix, (1, prefix.shape[1] if prefix.ndim > 1 else 1, width))
        first: Array = prefix[0]
        return first
