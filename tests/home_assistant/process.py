"""A program that tests end and start again."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from tests.system.command import environment


class Process:
    """A program that can be ended and started again; its output goes to a file.

    Args:
        words: the command.
        log: file of its output.
        env: changes of the environment.
    """

    def __init__(self, words: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self._words = words
        self.log = log
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment(self._env)
            )

    def end(self, number: int = signal.SIGTERM) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None
