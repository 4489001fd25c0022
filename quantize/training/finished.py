"""Finished runs, opened again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from edge_aac.errors import DataError, InputMissingError
from quantize.training.loop import kept_weights

Model = TypeVar("Model", bound=nn.Module)


def check_run_files(folder: Path, names: Sequence[str], what: str) -> None:
    """Refuse a folder that lacks files of a run.

    Raises:
        InputMissingError: one is missing.
    """
    if missing := [name for name in (*names, "last.pt") if not (folder / name).is_file()]:
        raise InputMissingError(f"{folder} holds no run of {what} ({missing[0]} is missing)")


def finished_weights(folder: Path, epochs: int) -> dict[str, Tensor]:
    """The averaged weights of a run that has done all its epochs.

    Raises:
        InputMissingError: epochs are left to do.
        DataError: the checkpoint is damaged.
    """
    weights, done = kept_weights(folder)
    if done < epochs:
        raise InputMissingError(
            f"{folder} has done {done} of its {epochs} epochs: run the same `edge-aac distill` again"
        )
    return weights


def averaged_model(model: Model, weights: Mapping[str, Tensor], folder: Path, recipe: str) -> Model:
    """A model with a run's averaged weights, in evaluation mode.

    Args:
        model: of random weights.
        weights: as :func:`quantize.training.loop.kept_weights` gives them.
        folder: of the run.
        recipe: the file there that holds its recipe.

    Raises:
        DataError: the weights do not fit.
    """
    averaged = AveragedModel(model)
    try:
        averaged.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(f"the checkpoint in {folder} does not fit its {recipe}: {error}") from error
    found = averaged.module
    assert isinstance(found, type(model))
    return found.eval()
