"""The shapes that a plan is built for: the smallest, the usual, which its kernels are chosen by, and the largest."""

from __future__ import annotations

from collections.abc import Mapping

from edge_aac.bundle.manifest import GraphRole
from edge_aac.bundle.patches import STEM
from edge_aac.errors import DataError
from edge_aac.models.graph_contracts import LOG_MEL, WAVEFORM
from edge_aac.models.patches import PATCHES, VECTORS
from edge_aac.models.prompted_manifest import PROMPT_ENCODER

Shape = tuple[int, ...]
Axis = tuple[int, int, int]
"""Smallest, usual and largest size."""
Profiles = Mapping[str, tuple[Shape, Shape, Shape]]
"""Input → its smallest, usual and largest shape."""

MIN_LARGEST_CANDIDATES = 16
"""Candidates of a window that a decoder's plan is built for at least, whatever the bundle's default is."""

_USUAL_TEXT_TOKENS = 32
_USUAL_PATCHES = 4
"""New ones of a window at a hop of 2 s."""


def profiles_for(
    role: GraphRole,
    shapes: Mapping[str, list[int | str]],
    *,
    streams: int,
    candidates: int,
    capacity: int,
    memory_steps: int,
    text_tokens: int,
    patches: int = 1,
) -> Profiles:
    """Smallest, usual and largest shapes of a graph's inputs that have dynamic axes.

    Args:
        role: role of the graph.
        shapes: shapes of inputs and outputs, as in the manifest: dynamic axes by name.
        streams: windows that are encoded and decoded at once.
        candidates: candidates of a window that are decoded at once, usually; the largest number is 16 at least.
        capacity: positions of the decoder's cache.
        memory_steps: steps that the encoder gives for a window.
        text_tokens: tokens of the longest text, its instruction included.
        patches: patches of a window, of a stem.

    Raises:
        DataError: a dynamic axis has a name that means nothing here.
    """
    largest_candidates = max(candidates, MIN_LARGEST_CANDIDATES)
    axes = {
        "windows": (1, 1, streams),
        "patches": (1, min(_USUAL_PATCHES, patches), streams * patches),
        "rows": (1, candidates, streams * largest_candidates),
        "capacity": (1, capacity, capacity),
        "memory_steps": (1, memory_steps, memory_steps),
        "texts": (1, candidates, largest_candidates),
        "tokens": token_axis(text_tokens),
    }
    return profiles_of(role, shapes, axes)


def token_axis(longest: int) -> Axis:
    """The axis of the tokens of texts, of which the longest has so many."""
    return 1, min(_USUAL_TEXT_TOKENS, longest), longest


def profiles_of(role: GraphRole, shapes: Mapping[str, list[int | str]], axes: Mapping[str, Axis]) -> Profiles:
    """Smallest, usual and largest shapes of a graph's inputs that have dynamic axes.

    Args:
        role: role of the graph.
        shapes: shapes of inputs and outputs, as in the manifest: dynamic axes by name.
        axes: name of an axis → its smallest, usual and largest size.

    Raises:
        DataError: a dynamic axis has a name that means nothing here.
    """
    profiles = {}
    for name in _inputs(role, shapes):
        named = {size for size in shapes[name] if isinstance(size, str)}
        if unknown := sorted(named - axes.keys()):
            raise DataError(
                f"the {role}'s {name} has the axis {unknown[0]!r}, of unknown size: export the bundle again"
            )
        if named:
            smallest, usual, largest = (
                tuple(size if isinstance(size, int) else axes[size][which] for size in shapes[name])
                for which in range(3)
            )
            profiles[name] = (smallest, usual, largest)
    return profiles


def _inputs(role: GraphRole, shapes: Mapping[str, object]) -> list[str]:
    if role == "decoder":
        given = {"token_ids", "step", "memory_padding", "prefix"}
        return [name for name in shapes if name in given or name.startswith(("self_", "cross_"))]
    texts = {"token_ids", "attention_mask"}
    given = {
        STEM: {PATCHES},
        "encoder": {"fbank", "frame_padding", VECTORS, LOG_MEL, WAVEFORM},
        "text_embedder": texts,
        PROMPT_ENCODER: texts,
    }[role]
    return [name for name in shapes if name in given]


def smaller_profiles(profiles: Profiles, halvings: int) -> Profiles:
    """Profiles for less memory: the largest batch (first axis) halved so many times, but never below the usual one.

    The other axes are what a graph must take (positions of the cache, tokens of a text) and stay. A captioner runs more
    rows than a plan takes in several runs.
    """
    smaller = {}
    for name, (smallest, usual, largest) in profiles.items():
        rows = max(usual[0], largest[0] >> halvings)
        smaller[name] = (smallest, usual, (rows, *largest[1:]))
    return smaller


def told_profiles(profiles: Profiles) -> dict[str, dict[str, list[int]]]:
    """Usual and largest shapes for a report; of inputs that come once a layer, none."""
    return {
        name: {"usual": list(usual), "largest": list(largest)}
        for name, (_, usual, largest) in profiles.items()
        if not name.rpartition("_")[2].isdecimal()
    }
