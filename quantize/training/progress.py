"""A progress bar for a person, a line an epoch for a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge_aac.standard_streams import drawing_stderr
from edge_aac.terminal import escaped


class TerminalProgress:
    """Shows a run's progress on stderr; see :class:`quantize.training.loop.Progress`."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(file=drawing_stderr(), quiet=quiet)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  {task.fields[rate]:.1f} scenes/s"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task("", total=None, loss=float("nan"), rate=0.0, visible=False)

    def __enter__(self) -> TerminalProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def print_line(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(escaped(line), highlight=False, markup=False)

    def resumed(self, run: Path, steps: int) -> None:
        """Tell that a run goes on behind so many steps; of a new one nothing."""
        if steps:
            self.print_line(f"{run} goes on after step {steps}")

    def epoch(self, number: int, total: int, steps: int) -> None:
        """A new epoch begins."""
        self._bar.reset(
            self._task, description=f"epoch {number}/{total}", total=steps, loss=float("nan"), rate=0.0, visible=True
        )

    def step(self, loss: float, scenes_per_s: float) -> None:
        """A step is done."""
        self._bar.update(self._task, advance=1, loss=loss, rate=scenes_per_s)

    def validated(self, scores: dict[str, float]) -> None:
        """An epoch's scores on recordings that training does not see."""
        self.print_line("  ".join(f"{name} {value:.3f}" for name, value in scores.items()))


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr for a task of ``total`` parts; call what it gives with the number that are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=drawing_stderr())) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
