"""The section ``[captioner]``: which bundle captions, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from edge_aac.bundle import limits
from edge_aac.bundle.manifest import DecodingMethod
from edge_aac.bundle.store import ASKED_BUNDLE, DEFAULT_BUNDLE

MAX_QUESTIONS = 16
"""Each costs a search of an answer."""

_BUNDLES_OWN = "the bundle's own"


class CaptionerSettings(BaseModel):
    """The captioner: its bundle, how captions are found, and what runs its graphs.

    None stands for what the bundle has.
    """

    model_config = ConfigDict(frozen=True, defer_build=True, extra="forbid")

    bundle: str = Field(
        default=DEFAULT_BUNDLE,
        description="Built-in or pulled bundle, or folder of one; several of one vocabulary with commas: an ensemble.",
        json_schema_extra={"flag": "--bundle", "env": "EDGE_AAC_BUNDLE"},
    )
    weights: tuple[float, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=limits.MAX_MEMBERS,
        description="Weight of each bundle of an ensemble, in order; they need not add up to 1.",
        examples=[[0.6, 0.4]],
        json_schema_extra={
            "flag": "--weights",
            "env": "EDGE_AAC_WEIGHTS",
            "metavar": "NUMBER,…",
            "separator": ",",
            "absent": "all alike",
        },
    )
    candidates: int | None = Field(
        default=None,
        ge=1,
        le=limits.MAX_CANDIDATES,
        description="Captions drawn for each window.",
        examples=[2],
        json_schema_extra={"flag": "--candidates", "env": "EDGE_AAC_CANDIDATES", "absent": _BUNDLES_OWN},
    )
    first_candidates: int | None = Field(
        default=None,
        ge=2,
        le=limits.MAX_CANDIDATES,
        description="Captions drawn first; the others only where these disagree.",
        examples=[2],
        json_schema_extra={
            "flag": "--first-candidates",
            "env": "EDGE_AAC_FIRST_CANDIDATES",
            "absent": "the bundle's own, or all at once",
        },
    )
    method: DecodingMethod | None = Field(
        default=None,
        description="How captions are decoded.",
        examples=["nucleus"],
        json_schema_extra={"flag": "--method", "env": "EDGE_AAC_METHOD", "absent": _BUNDLES_OWN},
    )
    max_length: int | None = Field(
        default=None,
        ge=2,
        le=limits.MAX_LENGTH,
        description="Longest caption in tokens, start and end counted.",
        examples=[30],
        json_schema_extra={
            "flag": "--max-length",
            "env": "EDGE_AAC_MAX_LENGTH",
            "unit": "tokens",
            "absent": _BUNDLES_OWN,
        },
    )
    likelihood_weight: float | None = Field(
        default=None,
        ge=0.0,
        le=limits.MAX_WEIGHT,
        allow_inf_nan=False,
        description="Weight of log-likelihood in the ranking of candidates.",
        examples=[0.3],
        json_schema_extra={
            "flag": "--likelihood-weight",
            "env": "EDGE_AAC_LIKELIHOOD_WEIGHT",
            "absent": _BUNDLES_OWN,
        },
    )
    similarity_weight: float | None = Field(
        default=None,
        ge=0.0,
        le=limits.MAX_WEIGHT,
        allow_inf_nan=False,
        description="Weight of audio-text similarity in the ranking; 0: not computed.",
        examples=[0.7],
        json_schema_extra={
            "flag": "--similarity-weight",
            "env": "EDGE_AAC_SIMILARITY_WEIGHT",
            "absent": _BUNDLES_OWN,
        },
    )
    fluency_check: bool | None = Field(
        default=None,
        description="Prefer captions that are whole sentences.",
        examples=[True],
        json_schema_extra={
            "flag": "--fluency-check/--no-fluency-check",
            "env": "EDGE_AAC_FLUENCY_CHECK",
            "absent": "on where the bundle's language has a check",
        },
    )
    min_familiarity: float | None = Field(
        default=None,
        ge=-limits.MAX_FAMILIARITY,
        le=limits.MAX_FAMILIARITY,
        allow_inf_nan=False,
        description="No class is named in windows that score lower.",
        examples=[-4.0],
        json_schema_extra={
            "flag": "--min-familiarity",
            "env": "EDGE_AAC_MIN_FAMILIARITY",
            "absent": _BUNDLES_OWN,
        },
    )
    min_confidence: float | None = Field(
        default=None,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="No word is said that names only sounds of which the bundle is less sure.",
        examples=[0.35],
        json_schema_extra={
            "flag": "--min-confidence",
            "env": "EDGE_AAC_MIN_CONFIDENCE",
            "absent": _BUNDLES_OWN,
        },
    )
    labels: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=limits.MAX_LABELS,
        description="What a bundle of the kind dual_encoder chooses from.",
        examples=[["a dog", "rain"]],
        json_schema_extra={"flag": "--label", "env": "EDGE_AAC_LABELS", "absent": _BUNDLES_OWN},
    )
    prompt: str | None = Field(
        default=None,
        max_length=limits.MAX_PROMPT,
        description="Text around each label of a dual_encoder, with {} in the label's place; of a prompted bundle the "
        "prompt that windows are described by.",
        examples=["the sound of {}"],
        json_schema_extra={"flag": "--prompt", "env": "EDGE_AAC_PROMPT", "absent": _BUNDLES_OWN},
    )
    templates: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=limits.MAX_TEMPLATES,
        description="Texts that each label of a dual_encoder is compared by, with {} in the label's place: their mean.",
        examples=[["the sound of {}", "{} is heard"]],
        json_schema_extra={"flag": "--template", "env": "EDGE_AAC_TEMPLATES", "absent": "the prompt alone"},
    )
    ask: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_QUESTIONS,
        description="Questions about what a stream hears, or names of tasks, for the bundle that is asked.",
        examples=[["is a baby crying?"]],
        json_schema_extra={"flag": "--ask", "env": "EDGE_AAC_ASK", "absent": "none"},
    )
    ask_every: Literal["event", "window"] = Field(
        default="event",
        description="When they are asked: with each event that starts, or of every window that is captioned.",
        json_schema_extra={"flag": "--ask-every", "env": "EDGE_AAC_ASK_EVERY"},
    )
    ask_bundle: str = Field(
        default=ASKED_BUNDLE,
        min_length=1,
        description="Bundle that is asked where that of the captions takes no questions.",
        examples=["everyday-ask"],
        json_schema_extra={"flag": "--ask-bundle", "env": "EDGE_AAC_ASK_BUNDLE"},
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="Seed of the candidates: same sound, bundle and seed, same captions.",
        json_schema_extra={"flag": "--seed", "env": "EDGE_AAC_SEED"},
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=256,
        description="CPU threads of a graph; 0: as many as pay.",
        json_schema_extra={"flag": "--threads", "env": "EDGE_AAC_THREADS", "unit": "threads"},
    )
    backend: Literal["auto", "tensorrt", "onnxruntime"] = Field(
        default="auto",
        description="What runs the graphs; auto: the fastest that this machine has.",
        json_schema_extra={"flag": "--backend", "env": "EDGE_AAC_BACKEND"},
    )
    cuda_graph: bool = Field(
        default=True,
        description="Launch TensorRT's decoding steps as CUDA graphs, where the GPU can do that.",
        json_schema_extra={"flag": "--cuda-graph/--no-cuda-graph", "env": "EDGE_AAC_CUDA_GRAPH"},
    )

    @property
    def asks(self) -> bool:
        """Whether a stream asks its bundle anything."""
        return self.ask is not None

    def leaves(self) -> str:
        """What is told beside captions, see :mod:`edge_aac.settings.leaving`."""
        if not self.asks:
            return ""
        return (
            "Answers to what is asked hold their question; they go wherever answer records go, and to standard output "
            "where its settings name no records."
        )

    @field_validator("weights", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """A flag and a variable have the weights in one text."""
        return split_weights(value) if isinstance(value, str) else value

    @field_validator("weights")
    @classmethod
    def _weighing(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return value if value is None else check_weights(value)


def split_weights(text: str) -> list[str]:
    """The parts of a text such as ``0.6,0.4``; whether they are numbers is for others to say."""
    return [part.strip() for part in text.split(",")]


def check_weights(weights: tuple[float, ...]) -> tuple[float, ...]:
    """Weights of bundles, as they were given.

    Raises:
        ValueError: one of them is not above 0, or too large.
    """
    if not all(0.0 < weight <= limits.MAX_WEIGHT for weight in weights):
        raise ValueError(f"expected a list of numbers above 0 to {limits.MAX_WEIGHT:g}")
    return weights
