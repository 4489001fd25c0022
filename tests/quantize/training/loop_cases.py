"""Trainings of a tiny module, for tests in this process and in others.

Those are started with ``torchrun -m tests.quantize.training.loop_cases``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from quantize.training.distributed import World, gather_with_gradient, share_of_mean
from quantize.training.loop import Trainer
from quantize.training.objective import info_nce
from quantize.training.precision import in_fp32
from quantize.training.recipe import recipe_from
from quantize.training.settings import TrainerSettings
from quantize.training.tensor_batch import TensorBatch

WIDTH = 12
SETTINGS = TrainerSettings(
    epochs=2, scenes_per_epoch=48, batch_scenes=8, learning_rate=0.02, warmup_steps=3, checkpoint_steps=4, workers=0
)


@dataclass(frozen=True)
class Rows(TensorBatch):
    """Vectors (B, WIDTH), another view of each, and how many of each one's values count, (B,)."""

    vectors: Tensor
    views: Tensor
    counts: Tensor


class Vectors(Dataset[tuple[Tensor, Tensor, int]]):
    """Depend on epoch and index alone."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        generator = torch.Generator().manual_seed(1000 * self.epoch + index)
        vector = torch.randn(WIDTH, generator=generator)
        return vector, vector + 0.3 * torch.randn(WIDTH, generator=generator), 1 + index % WIDTH


def collate(rows: list[tuple[Tensor, Tensor, int]]) -> Rows:
    vectors, views, counts = zip(*rows, strict=True)
    return Rows(torch.stack(vectors), torch.stack(views), torch.tensor(counts))


class Pair(nn.Module):
    """Two towers whose outputs for the same row are to agree."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.towers = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, WIDTH)) for _ in range(2)
        )


def objective(pair: Pair, batch: Rows) -> dict[str, Tensor]:
    """One term that compares rows, one that is a mean over positions which each row has its own number of."""
    first, second = pair.towers[0](batch.vectors), pair.towers[1](batch.views)
    counted = torch.arange(WIDTH) < batch.counts[:, None]
    with in_fp32(first):
        nothing = torch.zeros(SETTINGS.batch_scenes, SETTINGS.batch_scenes, dtype=torch.bool)
        terms = {
            "contrastive": info_nce(
                gather_with_gradient(first.float()), gather_with_gradient(second.float()), nothing, 0.2
            ),
            "values": share_of_mean(counted.sum())
            * functional.mse_loss(first.float()[counted], batch.vectors[counted]),
        }
    return {"loss": terms["contrastive"] + terms["values"], **terms}


@dataclass
class Strike:
    """An objective during whose call number ``call`` this process gets a signal."""

    call: int
    number: int
    calls: int = 0

    def __call__(self, pair: Pair, batch: Rows) -> dict[str, Tensor]:
        self.calls += 1
        if self.calls == self.call:
            os.kill(os.getpid(), self.number)
        return objective(pair, batch)


@dataclass
class Spoilt:
    """An objective without a finite loss at call number ``call``."""

    call: int
    calls: int = 0

    def __call__(self, pair: Pair, batch: Rows) -> dict[str, Tensor]:
        self.calls += 1
        terms = objective(pair, batch)
        return {**terms, "loss": terms["loss"] * (torch.nan if self.calls == self.call else 1.0)}


@dataclass
class Curve:
    """Progress that keeps the losses."""

    losses: list[float] = field(default_factory=list)

    def epoch(self, number: int, total: int, steps: int) -> None: ...
    def step(self, loss: float, scenes_per_s: float) -> None:
        self.losses.append(loss)

    def validated(self, scores: dict[str, float]) -> None: ...


def trainer(
    folder: Path,
    world: World | None = None,
    dropout: float = 0.0,
    terms: Any = objective,
    validate: Any = None,
    **changes: Any,
) -> Trainer[Rows]:
    """A run of the tiny module; ``changes`` are to its settings."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(5)
    return Trainer(Pair(dropout), terms, Vectors, collate, replace(SETTINGS, **changes), folder, world, validate)


def weights(run: Trainer[Any]) -> Tensor:
    """The averaged weights in a row."""
    return torch.cat([parameter.detach().flatten() for parameter in run.averaged.module.parameters()])


def main(arguments: Sequence[str]) -> None:
    """Do the jobs of a JSON file one after the other; each folder gets ``losses.json`` at its end."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with World.from_environment() as world:
        for job in json.loads(Path(arguments[0]).read_text(encoding="utf-8")):
            folder, curve = Path(job["folder"]), Curve()
            if "recipe" in job:
                # Takes seconds to import, and the tiny module has no need of it.
                from quantize.training.sources import SceneSource
                from quantize.training.train import Run

                recipe = recipe_from(job["recipe"])
                Run(recipe, SceneSource(recipe, Path(job["data"])), folder, world).train(curve)
            else:
                terms: Any = objective
                if job.get("struck_rank") == world.rank:
                    terms = Strike(job["call"], job["signal"])
                elif job.get("spoilt_rank") == world.rank:
                    terms = Spoilt(job["call"])
                trainer(folder, world, job["dropout"], terms, workers=job.get("workers", 0)).train(curve)
            if world.first:
                (folder / "losses.json").write_text(json.dumps(curve.losses), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
