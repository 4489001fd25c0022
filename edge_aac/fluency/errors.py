"""Kinds of error in a caption, the same in every language."""

from __future__ import annotations

from enum import Enum


class FluencyError(str, Enum):
    """Faults of a caption, after the error kinds of FENSE (https://arxiv.org/abs/2110.04684)."""

    INCOMPLETE_SENTENCE = "incomplete_sentence"
    REPEATED_EVENT = "repeated_event"
    REPEATED_ADVERB = "repeated_adverb"
    MISSING_CONJUNCTION = "missing_conjunction"
    MISSING_VERB = "missing_verb"
    DANGLING_FUNCTION_WORD = "dangling_function_word"
