"""The manifest of the kind "dual_encoder", and what of it a user may choose otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from edge_aac.bundle import limits
from edge_aac.bundle.clip_rule import ClipRule
from edge_aac.bundle.manifest import BundleFile, Manifest
from edge_aac.bundle.patches import STEM, PatchRule, check_stem
from edge_aac.bundle.section import Count, Number, Section
from edge_aac.errors import ConfigError, first_complaint
from edge_aac.models.graph_contracts import LOG_MEL
from edge_aac.models.label_texts import BLANK
from edge_aac.models.tokens import plain_text
from edge_aac.models.trial import MAX_TEXT_TOKENS

DUAL_ENCODER: Final = "dual_encoder"


class TextRule(Section):
    """How texts go to a text embedder that takes them as they are written; others get them as captions are written.

    Attributes:
        suffix: behind every text.
        max_tokens: of a text, suffix included: as many positions as the text embedder has.
    """

    suffix: str = Field(default="", max_length=limits.MAX_INSTRUCTION)
    max_tokens: Count = Field(ge=1, le=MAX_TEXT_TOKENS)


class DualEncoderManifest(Manifest):
    """The manifest of the kind "dual_encoder".

    Graphs: "encoder" takes ``fbank`` (W, 998, 128), where its model was trained on padded batches also
    ``frame_padding`` (W, 998), and gives ``audio_embedding`` (W, E) of any length; "text_embedder" takes ``token_ids``
    and ``attention_mask`` (N, S) and gives ``embedding`` (N, E) of unit length. With :attr:`patches`, "stem" takes
    ``patches`` (P, frames, 128) and gives ``vectors`` (P, D), and the encoder takes ``vectors`` (W, patches, D). With
    :attr:`clip`, the encoder takes ``log_mel`` (W, frames, M) of clips in place of windows.

    Attributes:
        labels: sounds that the model chooses from, each once; with :attr:`clip` there may be none.
        prompt: makes a caption of a label, which takes the place of ``{}``: "a recording of {}".
        templates: make the texts that a label is compared by, as ``prompt`` its caption: it lies where their mean does.
            Empty where it lies where its caption does.
        embedding_size: size of both embeddings, E.
        instruction: text before every text that goes to the text embedder; captions do not contain it.
        text_tokenizer: text → the text embedder's ids.
        patches: absent where the encoder hears filter banks itself.
        clip: absent where the model hears the windows of a stream.
        text: absent where texts are written as captions are.
        logit_scale: factor of the cosines before a softmax over texts; absent where none was learnt.
    """

    roles: ClassVar[frozenset[str]] = frozenset({STEM, "encoder", "text_embedder"})

    kind: Literal["dual_encoder"] = DUAL_ENCODER
    labels: list[Annotated[str, StringConstraints(max_length=limits.MAX_LABEL)]] = Field(max_length=limits.MAX_LABELS)
    prompt: str = Field(default=BLANK, max_length=limits.MAX_PROMPT)
    templates: list[Annotated[str, StringConstraints(max_length=limits.MAX_PROMPT)]] = Field(
        default_factory=list, max_length=limits.MAX_TEMPLATES
    )
    embedding_size: Count = Field(ge=1, le=limits.MAX_EMBEDDING_SIZE)
    instruction: str = Field(default="", max_length=limits.MAX_INSTRUCTION)
    text_tokenizer: BundleFile
    patches: PatchRule | None = None
    clip: ClipRule | None = None
    text: TextRule | None = None
    logit_scale: Number | None = Field(default=None, gt=0.0, le=limits.MAX_LOGIT_SCALE)

    @field_validator("prompt")
    @classmethod
    def _has_one_blank(cls, prompt: str) -> str:
        if prompt.count(BLANK) != 1:
            raise ValueError(f"a prompt holds {BLANK} once, where the label goes")
        return prompt

    @field_validator("templates")
    @classmethod
    def _have_one_blank(cls, templates: list[str]) -> list[str]:
        if not all(template.count(BLANK) == 1 for template in templates):
            raise ValueError(f"each template holds {BLANK} once, where the label goes")
        return templates

    @model_validator(mode="after")
    def _fits_its_graphs(self) -> DualEncoderManifest:
        self._check_clip()
        check_stem(self.patches, self.graphs)
        texts = self.texts()
        if not all(plain_text(label) for label in self.labels) or len(set(texts)) < len(texts):
            raise ValueError("labels are words, and no two of them the same")
        self.check_axis("encoder", "audio_embedding", self.embedding_size, "embedding_size")
        self.check_axis("text_embedder", "embedding", self.embedding_size, "embedding_size")
        return self

    def _check_clip(self) -> None:
        if self.clip is None:
            if not self.labels:
                raise ValueError("labels is empty: there is nothing to choose from")
            if self.text:
                raise ValueError("there is a rule for texts as they are written, but none for clips")
            return
        if self.patches:
            raise ValueError("a model that hears clips hears no patches of windows")
        if abs(self.clip.samples - self.window_s * self.sample_rate) >= 1.0:
            raise ValueError(
                f"clip.samples is {self.clip.samples}, but window_s is {self.window_s:g} at a sample_rate of "
                f"{self.sample_rate}"
            )
        self.check_axis("encoder", LOG_MEL, self.clip.mel.bins, "clip.mel.bins")

    def own_files(self) -> list[BundleFile]:
        """The tokenizer, and the mel filters of one that hears clips."""
        return [self.text_tokenizer, *([self.clip.mel.filters] if self.clip else [])]

    @property
    def hears_windows(self) -> bool:
        """See :class:`edge_aac.bundle.manifest.Manifest`."""
        return self.clip is None

    def texts(self) -> list[str]:
        """The caption for each label: lower-case, without punctuation."""
        return [plain_text(self.prompt.replace(BLANK, label)) for label in self.labels]

    @property
    def around(self) -> tuple[str, ...]:
        """What makes the texts of a label that it is compared by, at least one."""
        return tuple(self.templates) or (self.prompt,)


def chosen_labels(manifest: DualEncoderManifest, choices: Mapping[str, Any]) -> DualEncoderManifest:
    """What a bundle says, with a user's labels and prompt.

    Raises:
        ConfigError: a choice is unusable.
    """
    try:
        return DualEncoderManifest.model_validate({**manifest.model_dump(by_alias=True), **choices})
    except ValidationError as error:
        raise ConfigError(f"unusable choice: {first_complaint(error)}") from error


def own_templates(choices: Mapping[str, Any]) -> tuple[str, ...]:
    """What a user wants labels to be compared by; none leaves it to the bundle."""
    templates = tuple(choices.get("templates") or ())
    return templates or tuple(prompt for prompt in (choices.get("prompt"),) if prompt is not None)
