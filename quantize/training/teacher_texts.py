"""What a sentence embedder makes of texts, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_aac.errors import DataError
from quantize.models.sentence_embedder import SentenceEmbedder

Embeddings = npt.NDArray[np.float32]

_CHUNK_TEXTS = 1024


def teacher_fingerprint(teacher: SentenceEmbedder) -> str:
    """SHA-256 of all that its embeddings depend on: instruction, tokenizer and weights."""
    digest = hashlib.sha256(f"{teacher.default_instruction}\n{teacher.tokenizer.to_str()}".encode())
    module = teacher.embedder()
    digest.update(f"{getattr(module, 'pooling', '')} {getattr(module, 'unpooled_tokens', 0)}".encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def teacher_embeddings(
    teacher: SentenceEmbedder, texts: Sequence[str], folder: Path, fingerprint: str | None = None
) -> Embeddings:
    """The teacher's embeddings, (N, dim), kept in ``folder`` in chunks, so that none is computed twice.

    A chunk is found again by the hash of its texts and of the teacher.

    Args:
        teacher: embeds under its own instruction.
        texts: in the order of the result.
        folder: is made where there is none.
        fingerprint: of the teacher, where it is known already.

    Raises:
        DataError: a kept chunk is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fingerprint = fingerprint or teacher_fingerprint(teacher)
    chunks = [np.zeros((0, teacher.dim), np.float32)]
    for start in range(0, len(texts), _CHUNK_TEXTS):
        chunk = texts[start : start + _CHUNK_TEXTS]
        key = hashlib.sha256(json.dumps([fingerprint, *chunk]).encode()).hexdigest()
        path = folder / f"{key[:32]}.npy"
        if not path.is_file():
            beside = folder / f"{path.name}.new"
            with beside.open("wb") as stream:
                np.save(stream, teacher.embed(chunk))
            os.replace(beside, path)
        chunks.append(_kept_chunk(path, (len(chunk), teacher.dim)))
    return np.concatenate(chunks)


def _kept_chunk(path: Path, shape: tuple[int, int]) -> Embeddings:
    try:
        chunk: Embeddings = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path} is damaged ({error}): delete it, and it is computed again") from error
    if chunk.shape != shape or chunk.dtype != np.float32:
        raise DataError(f"{path} holds {chunk.shape} {chunk.dtype}, not {shape}: delete it, and it is computed again")
    return chunk
