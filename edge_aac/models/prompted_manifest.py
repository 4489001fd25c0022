"""The manifest of the kind "prompted": what a bundle that answers prompts about a sound states of itself."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from edge_aac.audio.clips import ClipCutter
from edge_aac.audio.resample import HIGHEST_RATE, LOWEST_RATE
from edge_aac.bundle import limits
from edge_aac.bundle.manifest import BundleFile, Manifest
from edge_aac.bundle.section import Count, Name, Number, Section
from edge_aac.errors import UsageError
from edge_aac.records.answer import QUESTION_MARKS

PROMPTED: Final = "prompted"
PROMPT_ENCODER: Final = "prompt_encoder"
CAPTION, QUESTION = "caption", "question"
"""Tasks: the one that needs no prompt where a bundle takes none, and the one that a text with a "?" is given to."""
MAX_TASKS = 64
MAX_CLIP_SAMPLES = 60 * 192_000
"""A minute at the highest rate of studios."""
_BLANK = "{}"

Prompt = Annotated[str, StringConstraints(max_length=limits.MAX_PROMPT)]


class SoundClip(Section):
    """The sound that the encoder hears at once.

    Attributes:
        sample_rate: in Hz.
        samples: length.
        repeats: whether shorter sound is repeated from its beginning until it is full; else silence follows it.
        mixes: whether channels are averaged; else each is heard by itself.
    """

    sample_rate: Count = Field(ge=LOWEST_RATE, le=HIGHEST_RATE)
    samples: Count = Field(ge=8, le=MAX_CLIP_SAMPLES)
    repeats: bool = True
    mixes: bool = False

    def cutter(self) -> ClipCutter:
        """Cuts sound into such clips."""
        return ClipCutter(self.sample_rate, self.samples, mixes=self.mixes, pads=False, repeats=self.repeats)


class PromptTokens(Section):
    """How a prompt becomes the prompt encoder's ids.

    Attributes:
        tokenizer: text → ids; it cuts where it is to keep an end token.
        length: ids that a prompt is cut and padded to.
        end: text behind every prompt; where it is empty, the tokenizer puts its own tokens around it.
        padding: id behind a shorter prompt.
    """

    tokenizer: BundleFile
    length: Count = Field(ge=1, le=limits.MAX_POSITIONS)
    end: Name = ""
    padding: Count = Field(default=0, ge=0)


class SearchRules(Section):
    """Rules of the beam search; see :mod:`edge_aac.models.prefix_search`.

    Attributes:
        beams: texts that are kept at each step; 1 is greedy.
        max_length: tokens of an answer, its stop token counted.
        temperature: divides the logits.
        stop_token_id: ends an answer.
    """

    beams: Count = Field(default=5, ge=1, le=limits.MAX_CANDIDATES)
    max_length: Count = Field(default=67, ge=1, le=limits.MAX_LENGTH)
    temperature: Number = Field(default=1.0, ge=limits.MIN_TEMPERATURE, le=limits.MAX_TEMPERATURE)
    stop_token_id: Count = Field(ge=0)


class PromptedManifest(Manifest):
    """The manifest of the kind "prompted": a sound and a prompt become a prefix, from which a language model goes on.

    Graphs: "encoder" takes ``waveform`` (1, samples) and gives ``audio_embedding`` (1, E) and ``prefix`` (1, P, D);
    "prompt_encoder" takes ``token_ids`` (1, S), and ``attention_mask`` (1, S) where padding is masked, and gives
    ``prefix`` (1, Q, D), and ``embedding`` (1, F) where it compares texts; "decoder" is described in
    :mod:`edge_aac.models.prefix_search`. A bundle without a prompt encoder takes no prompts: it writes captions.

    Attributes:
        clip: sound that the encoder hears.
        embedding_size: size of the audio embedding, E.
        vocabulary_size: number of tokens of the decoder, V.
        positions: positions that the decoder has learnt; prefix and answer share them.
        decoding: rules of the search.
        capitalises: whether the best answer gets a capital first letter and small ones behind it, as clapcap's.
        plain_answers: whether special tokens, such as the end's, are no part of an answer's text.
        tokenizer: ids ↔ text of the decoder.
        prompt_tokens: absent where the bundle takes no prompts.
        prompts: task → its prompt; ``{}`` is where the words of a user go.
        prompt: prompt that windows of a stream are described by.
    """

    roles: ClassVar[frozenset[str]] = frozenset({"encoder", PROMPT_ENCODER, "decoder"})

    kind: Literal["prompted"] = PROMPTED
    clip: SoundClip
    embedding_size: Count = Field(ge=1, le=limits.MAX_EMBEDDING_SIZE)
    vocabulary_size: Count = Field(ge=1, le=limits.MAX_VOCABULARY)
    positions: Count = Field(ge=2, le=limits.MAX_POSITIONS)
    decoding: SearchRules
    capitalises: bool = False
    plain_answers: bool = False
    tokenizer: BundleFile
    prompt_tokens: PromptTokens | None = None
    prompts: dict[Name, Prompt] = Field(default_factory=dict, max_length=MAX_TASKS)
    prompt: Prompt = ""

    def own_files(self) -> list[BundleFile]:
        """The tokenizers."""
        return [self.tokenizer, *([self.prompt_tokens.tokenizer] if self.prompt_tokens else [])]

    @model_validator(mode="after")
    def _fits_its_graphs(self) -> PromptedManifest:
        self.check_axis("encoder", "audio_embedding", self.embedding_size, "embedding_size")
        self.check_axis("encoder", "waveform", self.clip.samples, "clip.samples")
        self.check_axis("decoder", "logits", self.vocabulary_size, "vocabulary_size")
        if self.decoding.stop_token_id >= self.vocabulary_size:
            raise ValueError(f"decoding.stop_token_id is no token of a vocabulary of {self.vocabulary_size}")
        if self.decoding.beams > self.vocabulary_size:
            raise ValueError(f"decoding.beams {self.decoding.beams} is more than the {self.vocabulary_size} tokens")
        if (self.prompt_tokens is None) != (PROMPT_ENCODER not in self.graphs):
            raise ValueError("prompt_tokens and a prompt_encoder belong together")
        if self.prompt_tokens is None:
            if self.prompts or self.prompt:
                raise ValueError("there are prompts, but nothing that encodes them")
        elif not self.prompt.strip() or not all(prompt.strip() for prompt in self.prompts.values()):
            raise ValueError("a prompt is empty")
        elif any(prompt.count(_BLANK) > 1 for prompt in self.prompts.values()) or _BLANK in self.prompt:
            raise ValueError(f"a prompt of a task holds {_BLANK} once at most, and that of windows nowhere")
        return self

    def prompt_of(self, words: str | None, task: str | None) -> tuple[str, str | None]:
        """The prompt that a user means, and the name of its task where it has one.

        Without a task, words that end in a question mark are a question where the bundle has a prompt for one (and they
        do not begin as it does); all others are the prompt as they stand.

        Args:
            words: what the user asks; None for nothing.
            task: one of :attr:`prompts`; None for none.

        Returns:
            The prompt, "" where the bundle takes none; and the task.

        Raises:
            UsageError: the words are empty or too long, are missing where the task needs some, or given where it takes
                none; or the bundle has no such task, or takes no prompts.
        """
        if words is not None and not words.strip():
            raise UsageError("the prompt is empty: ask something, or leave it out")
        if words is not None and len(words) > limits.MAX_PROMPT:
            raise UsageError(f"the prompt has {len(words)} characters, more than {limits.MAX_PROMPT}: shorten it")
        if self.prompt_tokens is None:
            if words is not None or task not in {None, CAPTION}:
                raise UsageError(f"the bundle {self.name} takes no prompts, it writes captions: leave the prompt out")
            return "", None
        if task is None and words is not None:
            head = self.prompts.get(QUESTION, "").partition(_BLANK)[0].strip().lower()
            asked = words.strip()
            if not asked.endswith(QUESTION_MARKS) or not head or asked.lower().startswith(head):
                return words, None
            task = QUESTION
        if task is None:
            return self.prompt, next((name for name, prompt in self.prompts.items() if prompt == self.prompt), None)
        if task not in self.prompts:
            known = ", ".join(sorted(self.prompts)) or "none"
            raise UsageError(f"the bundle {self.name} has no task {task!r}: use one of {known}, or ask in words")
        template = self.prompts[task]
        if (_BLANK in template) != (words is not None):
            what = "leave the words out" if words is not None else "give some"
            raise UsageError(f"the task {task!r} takes {'words' if _BLANK in template else 'no words'}: {what}")
        return template.replace(_BLANK, words or ""), task
