"""Several processes that train one model together, one process a GPU, or a few on a CPU.

``torchrun`` starts them and ends them all with a non-zero code when one dies; the verb is called under it as it is
called alone, behind ``--`` (without it torchrun takes ``--run`` for an option of its own)::

    torchrun --standalone --nproc-per-node 2 --no-python -- edge-aac train --recipe … --data … --run …
    torchrun --standalone --nproc-per-node 2 -m -- edge_aac.cli train --recipe … --data … --run …

The recipe's batch is that of all ranks together, and each takes its share of it. On several machines the folders of
the run and of the recordings must be the same for all (a network file system). Tested with gloo on the CPU; NCCL was
never run here, for want of GPUs.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from edge_aac.errors import ConfigError, DeviceError
from quantize.training.store_barrier import SILENCE, StoreBarrier

TIMEOUT = timedelta(minutes=60)
_PATIENCE = timedelta(seconds=15)
"""Time limit of the start and of a collective, where all ranks do the same; a barrier, where they may not, has none."""


Made = TypeVar("Made")


@dataclass(frozen=True)
class World:
    """The processes of a run as one of them sees it; alone, every method is the identity.

    A context: leaving it takes the process out of the group.

    :meth:`barrier`, :meth:`gathered` and :meth:`first_alone` wait for ranks that work for hours, as long as they live.
    :meth:`mean` and :meth:`any` are collectives, which give up after the group's timeout: they are for the steps of
    training, and for nothing that one rank reaches later than the others because it had work of its own.

    Attributes:
        rank: The number of this process; rank 0 writes checkpoints and log, and validates.
        size: The number of processes.
        device: The device that this process computes on.
        meeting: The barrier of the group; None in a world of one.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")
    meeting: StoreBarrier | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str] = os.environ,
        timeout: timedelta = TIMEOUT,
        silence: timedelta = SILENCE,
    ) -> World:
        """Join the processes that ``torchrun`` started; without it, a world of one.

        Computes on a GPU where torch sees one (``CUDA_VISIBLE_DEVICES=`` hides them), with NCCL, else on the CPU with
        gloo.

        Args:
            environment: The variables that ``torchrun`` sets.
            timeout: The time limit of a collective.
            silence: The time without a sign of life after which a rank that others wait for is taken for dead.

        Raises:
            ConfigError: only some of ``RANK``, ``WORLD_SIZE`` and ``LOCAL_RANK`` are set, or to no number.
            DeviceError: there are GPUs, but not one for each process.
        """
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        if not any(name in environment for name in names):
            return cls(device=torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu"))
        try:
            rank, size, local_rank = (int(environment[name]) for name in names)
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"{', '.join(names)} are not all set to numbers: start with torchrun, or unset them to train alone"
            ) from error
        device = torch.device("cpu")
        if torch.cuda.is_available():
            if local_rank >= torch.cuda.device_count():
                raise DeviceError(
                    f"rank {rank} has no GPU of its own: give torchrun --nproc-per-node {torch.cuda.device_count()}"
                )
            device = torch.device("cuda", local_rank)
            torch.cuda.set_device(device)
        if size == 1:
            return cls(rank, size, device)

        def connect(patience: timedelta = TIMEOUT) -> Store:
            store, _, _ = next(rendezvous("env://", rank, size, timeout=patience))
            return store

        def connect_again() -> Store:
            # The group has met: who keeps its store answers at once, or was ended since.
            try:
                return connect(_PATIENCE)
            except distributed.DistError as error:
                raise DeviceError(
                    f"the rank that keeps the group's store cannot be reached: its own message says why ({error})"
                ) from error

        backend = "nccl" if device.type == "cuda" else "gloo"
        store = PrefixStore("group", connect())
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
        return cls(rank, size, device, StoreBarrier(connect_again, rank, size, silence))

    def __enter__(self) -> World:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.meeting is not None:
            if error is None:
                self.meeting.leave()  # no rank goes while another still talks to it
            else:
                self.meeting.fail(str(error))
            # What averages gradients holds on to the group, in cycles: left to the interpreter's end, gloo's threads
            # would be torn down while they run, which ended a rank with SIGABRT once.
            gc.collect()
            distributed.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes the run's files and shows its progress."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for all ranks, however long they take, as long as they live.

        Raises:
            DeviceError: another rank failed or died.
        """
        if self.size > 1:
            assert self.meeting is not None
            self.meeting.wait()

    def first_alone(self, make: Callable[[], Made]) -> Made:
        """Return what ``make`` gives; rank 0 calls it before the others, which find filled what it fills (a cache)."""
        made = make() if self.first else None
        self.barrier()
        return make() if made is None else made

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return each value's mean over the ranks: a collective, with the group's time limit."""
        if self.size == 1:
            return dict(values)
        stacked = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        distributed.all_reduce(stacked)
        return dict(zip(values, (stacked / self.size).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any rank: a collective, with the group's time limit."""
        return self.mean({"flag": float(flag)})["flag"] > 0

    def gathered(self, item: Any) -> list[Any]:
        """Return every rank's item (anything that pickles), by rank; waits for all ranks, as :meth:`barrier` does."""
        items = [item] * self.size
        self.barrier()
        if self.size > 1:
            distributed.all_gather_object(items, item)
        return items

    def share(self, batch: range) -> range:
        """Return this rank's rows of a batch of all ranks: every ``size``-th, so that together they are the batch.

        Raises:
            ConfigError: the batch cannot be shared equally; means over ranks would not be means over rows.
        """
        if len(batch) % self.size:
            raise ConfigError(
                f"a batch of {len(batch)} cannot be shared equally by {self.size} processes: "
                "change batch_scenes in the recipe or torchrun's --nproc-per-node"
            )
        return batch[self.rank :: self.size]


def gather_with_gradient(rows: Tensor) -> Tensor:
    """(B, …) of each rank → (ranks · B, …) of all, rank after rank, through which gradients flow back to their rank.

    For terms that compare the rows of a batch with each other, so that they see the whole batch. Every rank must hold
    the same shape, and compute the whole term. Alone it is the identity.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return rows
    gathered: Tensor = _AllGather.apply(rows)
    return gathered


def share_of_mean(counted: Tensor) -> Tensor:
    """What a rank's mean over ``counted`` of its own items weighs, so that the ranks' mean is the mean over all items.

    Gradients are averaged over ranks. A mean over rows is right so, as all ranks have as many; one over tokens or other
    positions, of which each rank has its own number, is to be multiplied by this. Alone it is 1.
    """
    counted = counted.detach().to(torch.float32)
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return torch.ones_like(counted)
    total = counted.clone()
    distributed.all_reduce(total)
    return counted * distributed.get_world_size() / total.clamp(min=1.0)


class _AllGather(torch.autograd.Function):
    """torch.distributed.nn holds the like, but deprecated since torch 2.13; its successor is not in torch 2.6."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size())[distributed.get_rank()]
