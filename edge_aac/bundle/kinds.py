"""Kinds of model, by the name that a manifest gives: each is registered by the package that has it."""

from __future__ import annotations

from typing import Any

from edge_aac.bundle.json_text import shown
from edge_aac.errors import EdgeAacError
from edge_aac.plugins import load, registered

GROUP = "edge_aac.models"
"""Entry points: name of the kind → an :class:`edge_aac.models.registry.ModelKind`."""


class UnknownKindError(EdgeAacError):
    """No installed package has such a kind of model."""

    exit_code = 65


def model_kind(kind: str) -> Any:
    """Load the object registered for a kind of model; :func:`edge_aac.models.registry.open_model` gives it its type.

    Raises:
        UnknownKindError: nothing is.
        ConfigError: what is registered cannot be loaded.
    """
    kinds = registered(GROUP)
    if kind not in kinds:
        raise UnknownKindError(
            f"the model is of the kind {shown(kind)}, this edge-aac runs {', '.join(kinds)}: "
            "install the package that runs it, or use a version that fits"
        )
    return load(kinds[kind], f"the kind of model {kind!r}")
