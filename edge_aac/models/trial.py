"""A trial window: what no graph declares is found by running each of them once, before the first window.

A table of tokens or positions that is smaller than the manifest states, an embedding that is none, a graph that was
exported for one row: they show when a graph runs. The trial also warms the engines up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from edge_aac.audio.windows import WINDOW_SAMPLES, Window
from edge_aac.bundle.manifest import MANIFEST, DecodingRules
from edge_aac.bundle.patches import STEM, PatchRule
from edge_aac.bundle.store import Bundle
from edge_aac.bundle.sureness import SOUNDS
from edge_aac.engines.contract import Engine, GraphRunError
from edge_aac.engines.steps import CoreEngine
from edge_aac.errors import DataError
from edge_aac.models.contract import not_cancelled
from edge_aac.models.decoding import CandidateDecoder
from edge_aac.models.encoding import Encoded, WindowEncoder
from edge_aac.models.graph_contracts import FRAMES, MEL_BINS
from edge_aac.models.patches import TOGETHER, VECTORS, PatchStem, patches_of
from edge_aac.models.tokens import max_token_id, to_arrays, to_text

_log = logging.getLogger(__name__)

Array = npt.NDArray[np.float32]
Result = TypeVar("Result")

MAX_TEXT_TOKENS = 2048
"""Of a text that is embedded: the work and memory of attention grow with its square."""
_UNIT_TOLERANCE = 0.02  # of a unit vector's length, in FP16 and INT8, too


def trial_window() -> Window:
    """A window of noise, the same every time."""
    fbank = np.random.default_rng(0).normal(0.0, 0.5, (FRAMES, MEL_BINS)).astype(np.float32)
    return Window(0, WINDOW_SAMPLES, fbank, -20.0, -3.0, -20.0)


class Trial:
    """Runs the graphs of a bundle once; what fails is a contradiction between its parts.

    Args:
        bundle: bundle that the graphs are of, for messages.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def encode(self, encoder: WindowEncoder, embedding_size: int, sounds: int | None = None) -> Encoded:
        """Encode the trial window.

        Args:
            encoder: runs the graph.
            embedding_size: size of the audio embedding, as the manifest states it.
            sounds: number of sounds whose confidence it tells; None where it may be any.

        Raises:
            DataError: the encoder cannot, or gives other shapes than the manifest states, no numbers, or nothing that
                could be attended to.
        """
        encoded = self._run("encoder", "a window", lambda: encoder.encode([trial_window()], not_cancelled))
        self._check("encoder", "audio_embedding", encoded.audio_embeddings, (1, embedding_size))
        if encoded.familiarity is not None:
            self._check("encoder", "familiarity", encoded.familiarity, (1,))
        if encoded.sounds is not None:
            self._check("encoder", SOUNDS, encoded.sounds, (1, encoded.sounds.shape[-1] if sounds is None else sounds))
            if encoded.sounds.min() < 0.0 or encoded.sounds.max() > 1.0:
                raise self._refusal("encoder", f"gives {SOUNDS} that are no confidences (0 to 1)")
        if encoded.memory.padding.all():
            raise self._refusal("encoder", "marks all of a window of sound as padding")
        return encoded

    def hear_patch(self, stem: PatchStem, rule: PatchRule) -> None:
        """Run the stem over the trial window's first patch, and see whether patches may share runs.

        Raises:
            DataError: the stem cannot, or gives no numbers.
        """
        patches = list(patches_of(trial_window().fbank, rule)[: max(TOGETHER)])
        found = self._run(STEM, "a patch", lambda: np.stack(stem.run(patches[:1])))
        self._check(STEM, VECTORS, found, (1, found.shape[-1]))
        try:
            stem.try_together(patches)
        except (DataError, ValueError) as error:  # a graph that was exported for one patch
            _log.debug("patches have runs of their own: %s", error)

    def embed_window(self, embed: Callable[[Window], Array], size: int) -> None:
        """Embed the trial window; of :meth:`encode` the part for an encoder that embeds windows and no more.

        Raises:
            DataError: the encoder cannot, or gives another shape than (1, ``size``), or no numbers.
        """
        self.embed_sound("a window", lambda: embed(trial_window()), size)

    def embed_sound(self, given: str, embed: Callable[[], Array], size: int) -> None:
        """As :meth:`embed_window`, of what an encoder hears that is no window; ``given`` is its name in messages."""
        self._check("encoder", "audio_embedding", self._run("encoder", given, embed), (1, size))

    def decode(self, decoder: CandidateDecoder, encoded: Encoded, rules: DecodingRules, vocabulary_size: int) -> None:
        """Feed the decoder its first token and, at the last position that a caption can have, the last of its tokens.

        Raises:
            DataError: it cannot take them, or gives other logits than the manifest states, or no numbers.
        """
        steps, rows = decoder.open_steps(encoded.memory, rules)
        last = rules.max_length - 2  # the end is never fed
        for position, token_id, stated in (
            (0, rules.start_token_id, f"the token decoding.start_token_id {rules.start_token_id}"),
            (0, vocabulary_size - 1, f"the last token of vocabulary_size {vocabulary_size}"),
            (last, rules.pad_token_id, f"the last position of max_length {rules.max_length}"),
        ):
            token_ids = np.full((rows, 1), token_id, dtype=np.int64)
            logits = self._run("decoder", stated, partial(steps.step, token_ids, position))
            self._check("decoder", "logits", logits, (rows, vocabulary_size))

    def embed(self, embed: Callable[[Sequence[str]], Array], texts: Sequence[str], size: int | None) -> Array:
        """Embed texts.

        Args:
            embed: function that embeds texts, (N, E).
            texts: texts to embed.
            size: E as the manifest states it; None where it may be any.

        Raises:
            DataError: the text embedder cannot, or gives other than unit vectors of this size.
        """
        found = self._run("text_embedder", "a caption", lambda: embed(texts))
        self._check("text_embedder", "embedding", found, (len(texts), size or found.shape[-1]))
        lengths = np.linalg.norm(np.asarray(found, np.float64), axis=1)
        worst = float(lengths[np.abs(lengths - 1.0).argmax()])
        if not abs(worst - 1.0) <= _UNIT_TOLERANCE:
            raise self._refusal("text_embedder", f"gives embeddings of length {worst:.3g}, not of unit length")
        return found

    def text_ids(self, engine: Engine, tokenizer: Tokenizer, file: str) -> None:
        """Feed the text embedder the largest id that its tokenizer can give.

        On an accelerator nothing is fed: out of range, it reads whatever lies there.

        Args:
            engine: the text embedder's.
            tokenizer: the text embedder's.
            file: the tokenizer's file, for messages.

        Raises:
            DataError: the text embedder has fewer tokens than the tokenizer.
        """
        if not isinstance(engine, CoreEngine):
            return
        largest = max_token_id(tokenizer)
        ids = np.full((1, 1), largest, dtype=np.int64)
        self._run(
            "text_embedder",
            f"the token {largest} of {file}",
            lambda: engine.run({"token_ids": ids, "attention_mask": np.ones_like(ids)}),
        )

    def longest_text(self, decoder: Tokenizer, text: Tokenizer, rules: DecodingRules, instruction: str) -> str:
        """A caption of as many tokens as the rules allow, spread over the vocabulary.

        Raises:
            DataError: no token of the decoder's tokenizer is a word, or the caption is too long for a text embedder.
        """
        size = decoder.get_vocab_size()
        count = min(size, max(1, rules.max_length - 2))
        ids = [number * size // count for number in range(count)]
        longest = to_text(decoder, ids) or to_text(decoder, range(size))
        if not longest:
            raise self._refusal("decoder", "can write nothing: no token of its tokenizer is a word")
        tokens = to_arrays(text, [longest], instruction)[0].shape[1]
        if tokens > MAX_TEXT_TOKENS:
            raise self._refusal(
                "text_embedder", f"would be given {tokens} tokens for a caption, more than {MAX_TEXT_TOKENS}"
            )
        return longest

    def _check(self, role: str, name: str, found: npt.NDArray[np.generic], shape: tuple[int, ...]) -> None:
        if found.shape != shape:
            raise self._refusal(role, f"gives {name} of shape {list(found.shape)}, not {list(shape)}")
        numbers = np.asarray(found, dtype=np.float32)
        # Logits may forbid a token with minus infinity.
        if np.isnan(numbers).any() or np.isposinf(numbers).any() or not np.isfinite(numbers).any():
            raise self._refusal(role, f"gives {name} that are no numbers (NaN or infinite)")

    def _run(self, role: str, given: str, run: Callable[[], Result]) -> Result:
        try:
            return run()
        except GraphRunError as error:
            raise self._refusal(role, f"fails with {given} ({error.why})") from error
        except (ValueError, IndexError, KeyError, TypeError) as error:
            # Arrays of other shapes than a graph declares do not fit into those of the next.
            why = str(error).partition("\n")[0]
            raise self._refusal(role, f"fails with {given} ({why})") from error

    def _refusal(self, role: str, what: str) -> DataError:
        return DataError(
            f"{MANIFEST} of the bundle {self._bundle.manifest.name!r} contradicts its {role}, which {what}: "
            "install or export the bundle again"
        )
