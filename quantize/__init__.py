"""Build-time side of edge-aac: load, train, shrink and export captioners. Needs the ``train`` extra (torch).

The two loaders import torch when they are called, not before: `device/` runs without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import edge_aac  # noqa: F401 - before any module here imports onnxruntime: it keeps that from reporting

if TYPE_CHECKING:
    from quantize.models.instructor import Instructor
    from quantize.models.published import PublishedCaptioner

__all__ = ["load_captioner", "load_instructor"]


def load_captioner(path: str | Path) -> PublishedCaptioner:
    """Load a captioner of the published layout.

    Args:
        path: folder with ``config.json`` and ``model.safetensors`` or ``pytorch_model.bin``.

    Returns:
        An object with the stages as methods: ``filter_bank``, ``beats_hidden``, ``encode``, ``logits``,
        ``caption_nll``, ``decode``.

    Raises:
        InputMissingError, ConfigError, DataError: see :func:`quantize.models.checkpoint.load_captioner_weights`.
    """
    from quantize.models.checkpoint import load_captioner_weights
    from quantize.models.published import PublishedCaptioner

    return PublishedCaptioner(load_captioner_weights(Path(path)))


def load_instructor(path: str | Path) -> Instructor:
    """Load INSTRUCTOR, of any size.

    Args:
        path: folder in the layout of sentence-transformers (``modules.json``).

    Returns:
        An object with ``embed(texts, instruction=...)``.

    Raises:
        InputMissingError, ConfigError, DataError: see :func:`quantize.models.instructor.load_instructor_weights`.
    """
    from quantize.models.instructor import load_instructor_weights

    return load_instructor_weights(Path(path))
