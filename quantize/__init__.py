"""Build-time side of edge-aac: load, train, shrink and export captioners. Needs the ``train`` extra (torch).

The loaders import torch when they are called, not before: `device/` runs without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import edge_aac  # noqa: F401 - before any module here imports onnxruntime: it keeps that from reporting

if TYPE_CHECKING:
    from quantize.models.clap.clapcap import Clapcap
    from quantize.models.clap.contract import SoundTextModel
    from quantize.models.instructor import Instructor
    from quantize.models.pengi.pengi import Pengi
    from quantize.models.published import PublishedCaptioner

__all__ = ["load_captioner", "load_clap", "load_clapcap", "load_instructor", "load_pengi"]


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


def load_clap(path: str | Path) -> SoundTextModel:
    """Load CLAP, Microsoft's of 2023 or 2022 or LAION's, told apart by their keys.

    Args:
        path: ``CLAP_weights_2023.pth`` or its folder, with GPT-2's tokenizer in ``gpt2/`` beside the file;
            ``CLAP_weights_2022.pth`` or its folder, with BERT's in ``bert-base-uncased/``; or a folder of LAION's in
            the layout of transformers.

    Returns:
        An object with ``log_mel``, ``embed_audio``, ``embed_text`` and ``similarity``; Microsoft's also with
        ``audio_stages`` and ``text_stages``.

    Raises:
        InputMissingError, ConfigError, DataError: see :func:`quantize.models.clap.loading.load_any_clap`.
    """
    from quantize.models.clap.loading import load_any_clap

    return load_any_clap(Path(path))


def load_clapcap(path: str | Path) -> Clapcap:
    """Load clapcap, the captioner that stands on CLAP.

    Args:
        path: ``clapcap_weights_2023.pth`` or its folder, with GPT-2's tokenizer in ``gpt2/`` beside the file.

    Returns:
        An object with ``prefix``, ``logits`` and ``generate``.

    Raises:
        InputMissingError, ConfigError, DataError: see :func:`quantize.models.clap.loading.load_clapcap_weights`.
    """
    from quantize.models.clap.loading import load_clapcap_weights

    return load_clapcap_weights(Path(path))


def load_pengi(path: str | Path) -> Pengi:
    """Load Pengi, which answers a prompt about a sound.

    Args:
        path: ``base.pth`` or ``base_no_text_enc.pth``, or a folder with one of them (the first where it has both), with
            ``gpt2/`` and, for the first, CLIP's folder beside it.

    Returns:
        An object with ``prefix``, ``logits``, ``generate`` and ``describe``.

    Raises:
        InputMissingError, ConfigError, DataError: see :func:`quantize.models.pengi.loading.load_pengi_weights`.
    """
    from quantize.models.pengi.loading import load_pengi_weights

    return load_pengi_weights(Path(path))
