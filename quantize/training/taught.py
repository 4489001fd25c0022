"""A taught encoder as a file: what a run learns captions over without hearing or learning any mixture again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from edge_aac.errors import DataError
from quantize.models.captioner import Captioner
from quantize.models.config import CaptionerConfig
from quantize.models.weight_files import read_tensors

FILE = "encoder.safetensors"
"""Its name in the folder of a run."""


def write_taught(weights: Mapping[str, Tensor], path: Path) -> None:
    """Keep the weights of a taught encoder, under the captioner's names, as they are; replaces what is there."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, path)


def read_taught(path: Path, config: CaptionerConfig) -> dict[str, Tensor]:
    """The weights of a taught encoder, in FP32 whatever they are stored in.

    Args:
        path: file of :func:`write_taught`, or one of half the size in FP16.
        config: of the captioner that begins with them.

    Raises:
        InputMissingError: there is no such file.
        DataError: it is damaged, or of an encoder of other sizes.
    """
    stored = read_tensors(path)
    expected = {name: tensor.shape for name, tensor in Captioner(config).state_dict().items()}
    strange = [name for name, tensor in stored.items() if expected.get(name) != tensor.shape]
    stem = [name for name in expected if name.startswith("encoder.patch_embedding.") and name not in stored]
    if strange or stem or not stored:
        named = (strange or stem or ["nothing"])[0]
        raise DataError(f"{path} is no encoder of this recipe's sizes ({named}): train one, or take its own recipe")
    return {name: tensor.float() if torch.is_floating_point(tensor) else tensor for name, tensor in stored.items()}
