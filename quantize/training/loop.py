"""The trainer: fits any module to any dataset, on one process or on several, and can be broken off anywhere.

AdamW, a one-cycle learning rate, clipped gradients and a moving average of the weights. The folder holds ``last.pt``
(everything needed to go on) and ``log.jsonl`` (a row every 20 steps and one an epoch).

A run that was killed goes on at its last checkpoint to the same weights as one that was not, bit for bit on the CPU,
with the same number of processes (tested with one and two): examples depend on epoch and index alone, and every rank's
random state is kept. With another number of processes it goes on too, with the same batches but other dropout. SIGTERM
ends the run behind the step under way and a checkpoint.

On several processes (see :mod:`quantize.training.distributed`) each has its rows of every batch, and gradients are
averaged. Batch norms see the rows of their rank alone (torch's synchronised ones run on GPUs only); their running
statistics are those of rank 0, which the others receive before every step, so checkpoints hold one set. bf16 and pinned
memory were never run on a GPU here; bf16 is tested on the CPU.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from edge_aac.errors import ConfigError, DataError
from quantize.models.weight_files import load_pickle
from quantize.training.distributed import World
from quantize.training.interruption import Termination, obey_parent_only
from quantize.training.parameter_groups import parameter_groups
from quantize.training.precision import wants_bf16
from quantize.training.settings import TrainerSettings
from quantize.training.tensor_batch import TensorBatch

LOG_EVERY_STEPS = 20
MIN_STEPS = 4
"""A rise and a fall of the learning rate."""

_GRADIENT = "length of the gradient"

Terms = dict[str, Tensor]
Made = TypeVar("Made", bound=TensorBatch)


class Progress(Protocol):
    """Receiver of the trainer's progress; the command line shows a bar."""

    def epoch(self, number: int, total: int, steps: int) -> None:
        """Epoch ``number`` of ``total`` begins or goes on, with ``steps`` steps to do."""

    def step(self, loss: float, scenes_per_s: float) -> None: ...
    def validated(self, scores: dict[str, float]) -> None: ...


class Trainer(Generic[Made]):
    """One run of training in its folder."""

    def __init__(  # noqa: PLR0913, PLR0917 - what is trained, on what, how, and where
        self,
        trainee: nn.Module,
        objective: Callable[[Any, Made], Terms],
        dataset: Callable[[int], Dataset[Any]],
        collate: Callable[[list[Any]], Made],
        settings: TrainerSettings,
        folder: Path,
        world: World | None = None,
        validate: Callable[[Any], dict[str, float]] | None = None,
    ) -> None:
        """Take up the run in ``folder``, which exists, or begin one.

        Args:
            trainee: all that is trained and kept; what is only consulted (a teacher) belongs to the objective.
            objective: the terms of the loss for the trainee and a batch, means over this rank's rows, of which ``loss``
                is minimised (see :func:`quantize.training.distributed.share_of_mean` and ``gather_with_gradient`` for
                those that are no such means). It runs under autocast, and computes its terms within
                :func:`quantize.training.precision.in_fp32`. All its randomness comes from torch's generators.
            dataset: examples of an epoch, counted from 0, which depend on epoch and index alone; its first
                ``scenes_per_epoch`` are used, in order.
            collate: puts examples together.
            settings: learning rate, batches, epochs and the like.
            folder: folder of the run.
            world: the processes; alone on the CPU by default.
            validate: scores of the averaged trainee, in evaluation mode on the world's device, after each epoch; rank 0
                alone calls it, and others need none.

        Raises:
            ConfigError: too few steps, a batch that the ranks cannot share, or an unknown precision.
            DataError: the folder's checkpoint is of another trainee.
        """
        self.settings, self.folder, self.world = settings, folder, world or World()
        self.dataset, self.collate, self.validate = dataset, collate, validate
        self.autocast = wants_bf16(settings.precision, self.world.device)
        self.steps_per_epoch = settings.scenes_per_epoch // settings.batch_scenes
        total = self.steps_per_epoch * settings.epochs
        if total < MIN_STEPS:
            raise ConfigError(
                f"the recipe makes {total} training steps, fewer than {MIN_STEPS}: raise epochs or scenes_per_epoch"
            )
        self.world.share(range(settings.batch_scenes))
        # Rank 0 may be the only one that can, and late: it has made what it validates on. So no collective comes first.
        self.validated = any(self.world.gathered(validate is not None))
        torch.set_flush_denormal(True)  # Adam's square roots of vanishing gradients are many times slower without
        self.trainee = trainee.to(self.world.device)
        self.averaged = AveragedModel(
            self.trainee, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay), use_buffers=True
        )
        self.optimizer = torch.optim.AdamW(
            # OneCycleLR moves the first of the betas between 0.95 and 0.85, against the learning rate.
            parameter_groups(self.trainee, settings.weight_decay),
            lr=settings.learning_rate,
            betas=(0.95, 0.98),
            fused=True,
        )
        warmup = max(2, settings.warmup_steps)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, settings.learning_rate, total, pct_start=min(0.5, warmup / total)
        )
        self.epochs_done = 0
        self.steps_done = 0
        self._sums: dict[str, float] = {}
        self._random_states: list[list[Tensor]] = []
        self._resume()
        self._terms: nn.Module = _Objective(self.trainee, objective)
        if self.world.size > 1:
            # A term that the recipe leaves out leaves its part of the trainee without gradients.
            self._terms = DistributedDataParallel(self._terms, find_unused_parameters=True)

    def train(self, progress: Progress) -> dict[str, float]:
        """Run what is left; returns the scores of the last validation (empty without one, and on ranks but the first).

        SIGTERM and SIGHUP are obeyed (sent again) once a checkpoint is written.

        Raises:
            ConfigError: the loss is no finite number any more; the checkpoint is one from before.
        """
        scores: dict[str, float] = {}
        with Termination() as termination:
            while self.epochs_done < self.settings.epochs:
                if not self._epoch(progress, termination):
                    break
                scores = self._close_epoch(progress)
                if self.world.any(termination.requested):
                    termination.request()
                    break
        return scores

    def _epoch(self, progress: Progress, termination: Termination) -> bool:
        """The steps of an epoch that are left; False if the run is to end before its validation."""
        done_before = self.steps_done - self.epochs_done * self.steps_per_epoch
        if self.world.first:
            progress.epoch(self.epochs_done + 1, self.settings.epochs, self.steps_per_epoch - done_before)
        self.trainee.train()
        started = time.perf_counter()
        for count, batch in enumerate(self._batches(done_before), start=1):
            terms = self.world.mean(self._step(batch))
            gradient = terms.pop(_GRADIENT)
            self._check_finite(terms, gradient)
            self.steps_done += 1
            for name, value in terms.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            rate = count * self.settings.batch_scenes / (time.perf_counter() - started)
            self._log_step(progress, terms, rate)
            last = done_before + count == self.steps_per_epoch
            if self.world.any(termination.requested):
                termination.request()
                self._save()
                return False
            # Validation can take long; a run that is killed in it does no step again.
            if (last and self.validated) or (not last and self.steps_done % self.settings.checkpoint_steps == 0):
                self._save()
        return True

    def _check_finite(self, terms: dict[str, float], gradient: float) -> None:
        """Refuse weights that a checkpoint must not hold.

        The means over ranks are looked at, behind the step: so all ranks agree without another exchange, and a gradient
        that spoils the weights under a finite loss is seen, too.
        """
        if math.isfinite(terms["loss"]) and math.isfinite(gradient):
            return
        not_finite = [name for name, value in terms.items() if not math.isfinite(value)]
        raise ConfigError(
            f"no finite {', '.join(not_finite) or _GRADIENT} at step {self.steps_done + 1} of {self.folder}: lower "
            "learning_rate in the recipe, or correct temperature and weight of that term, and train in a new folder"
        )

    def _log_step(self, progress: Progress, terms: dict[str, float], rate: float) -> None:
        if not self.world.first:
            return
        progress.step(terms["loss"], rate)
        within = self.steps_done - self.epochs_done * self.steps_per_epoch
        if within % LOG_EVERY_STEPS == 0:
            row = {"step": self.steps_done, "scenes_per_s": round(rate, 2), **terms}
            self._log({**row, "learning_rate": self.schedule.get_last_lr()[0]})

    def _close_epoch(self, progress: Progress) -> dict[str, float]:
        # While rank 0 validates, the others wait in ``_save``, which begins with a barrier.
        means = {name: value / self.steps_per_epoch for name, value in self._sums.items()}
        self._sums = {}
        self.epochs_done += 1
        scores: dict[str, float] = {}
        if self.world.first:
            if self.validate:
                with torch.no_grad():
                    scores = self.validate(self.averaged.module.eval())
                progress.validated(scores)
            self._log({"epoch": self.epochs_done, **means, **scores})
        self._save()
        return scores

    def _batches(self, skipped: int) -> Iterator[Made]:
        """This rank's share of the epoch's batches from number ``skipped`` on, on the device."""
        settings, size = self.settings, self.settings.batch_scenes
        on_gpu = self.world.device.type == "cuda"
        loader: DataLoader[Any] = DataLoader(
            self.dataset(self.epochs_done),
            batch_sampler=[
                list(self.world.share(range(step * size, (step + 1) * size)))
                for step in range(skipped, self.steps_per_epoch)
            ],
            collate_fn=self.collate,
            num_workers=settings.workers,
            prefetch_factor=4 if settings.workers else None,
            worker_init_fn=obey_parent_only,
            pin_memory=on_gpu,
        )
        # Dropout of an epoch depends on its number and the rank, so a resumed run is the run that was not broken.
        torch.manual_seed(settings.seed * 100_003 + self.epochs_done + self.world.rank * 1_000_000_007)
        batches = iter(loader)  # draws a number
        if skipped:
            self._restore_chance()
        for batch in batches:
            yield batch.to(self.world.device, non_blocking=on_gpu)

    def _step(self, batch: Made) -> dict[str, float]:
        """The terms of this rank's rows, and the length of the gradient of all ranks."""
        with torch.autocast(self.world.device.type, dtype=torch.bfloat16, enabled=self.autocast):
            terms: Terms = self._terms(batch)
        self.optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        gradient = nn.utils.clip_grad_norm_(self.trainee.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self.schedule.step()
        self.averaged.update_parameters(self.trainee)
        measured = {**terms, _GRADIENT: gradient}
        # One transfer for all: each float() of a tensor on a GPU would wait for the GPU once more.
        values = torch.stack([value.detach().to(gradient.device, torch.float64) for value in measured.values()])
        return dict(zip(measured, values.tolist(), strict=True))

    def _restore_chance(self) -> None:
        """Random states at the checkpoint that this process started from, for the rest of that epoch."""
        if len(self._random_states) != self.world.size:  # they are of no use to other ranks than they were kept for
            torch.manual_seed((self.settings.seed * 100_003 + self.steps_done) * 1_009 + self.world.rank)
            return
        cpu, *gpu = self._random_states[self.world.rank]
        torch.set_rng_state(cpu)
        for state in gpu:
            torch.cuda.set_rng_state(state, self.world.device)

    def _save(self) -> None:
        """Write a checkpoint; all ranks take part and go on together."""
        on_gpu = self.world.device.type == "cuda"
        chance = [torch.get_rng_state(), *([torch.cuda.get_rng_state(self.world.device)] if on_gpu else [])]
        chances = self.world.gathered(chance)
        if self.world.first:
            log = self.folder / "log.jsonl"
            state = {
                "trainee": self.trainee.state_dict(),
                "averaged": self.averaged.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "epochs_done": self.epochs_done,
                "steps_done": self.steps_done,
                "sums": self._sums,
                "random_states": chances,
                "log_bytes": log.stat().st_size if log.is_file() else 0,
            }
            # Written beside and renamed: a run killed while saving still resumes from the checkpoint before.
            beside = self.folder / "last.pt.new"
            torch.save(state, beside)
            os.replace(beside, self.folder / "last.pt")
        self.world.barrier()

    def _resume(self) -> None:
        path, log = self.folder / "last.pt", self.folder / "log.jsonl"
        state: dict[str, Any] = {"log_bytes": 0}
        if path.is_file():
            try:
                state = dict(load_pickle(path))
                self.trainee.load_state_dict(state["trainee"])
                self.averaged.load_state_dict(state["averaged"])
                self.optimizer.load_state_dict(state["optimizer"])
                self.schedule.load_state_dict(state["schedule"])
                self.epochs_done, self.steps_done = state["epochs_done"], state["steps_done"]
                self._sums, self._random_states = state["sums"], state["random_states"]
            except (DataError, KeyError, RuntimeError, ValueError) as error:
                raise DataError(f"{path} is no checkpoint of this run ({error}): give a new folder") from error
        self.world.barrier()
        if self.world.first and log.is_file():
            # What came behind the checkpoint is run again, and logged again.
            os.truncate(log, min(log.stat().st_size, state["log_bytes"]))

    def _log(self, row: dict[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")


def kept_weights(folder: Path) -> tuple[dict[str, Tensor], int]:
    """The averaged weights in a run's checkpoint, on the CPU whatever it was trained on, and how many epochs are done.

    Raises:
        InputMissingError: there is no checkpoint.
        DataError: it is damaged.
    """
    path = folder / "last.pt"
    try:
        state = load_pickle(path)
        return dict(state["averaged"]), int(state["epochs_done"])
    except (DataError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is no whole checkpoint of a run: copy the run's folder here again, or train in a new one"
        ) from error


class _Objective(nn.Module):
    """The objective as a module: what averages gradients must see the whole of a forward pass."""

    def __init__(self, trainee: nn.Module, objective: Callable[[Any, Any], Terms]) -> None:
        super().__init__()
        self.trainee = trainee
        # In a tuple, so that an objective that is a module (it holds a teacher, say) is not taken for a part to train.
        self.objective = (objective,)

    def forward(self, batch: Any) -> Terms:
        terms = self.objective[0](self.trainee, batch)
        return {name: term if name == "loss" else term.detach() for name, term in terms.items()}
