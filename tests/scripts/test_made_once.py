"""What all workers share is made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.made_once import made_once

pytestmark = pytest.mark.one_python


class Factory:
    """A worker's."""

    def __init__(self, base: Path) -> None:
        self._base = base

    def getbasetemp(self) -> Path:
        return self._base


def test_the_second_worker_takes_what_the_first_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = [Factory(tmp_path / name) for name in ("gw0", "gw1")]
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "file").touch()

    folders = [made_once(worker, "thing", make) for worker in workers]  # type: ignore[arg-type]
    assert folders[0] == folders[1] and made == folders[:1] and (folders[0] / "file").exists()
    assert made_once(workers[0], "other", make) != folders[0]  # type: ignore[arg-type]


def test_what_failed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    factory = Factory(tmp_path)

    def fail(folder: Path) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        made_once(factory, "thing", fail)  # type: ignore[arg-type]
    assert (made_once(factory, "thing", lambda folder: (folder / "file").touch()) / "file").exists()  # type: ignore[arg-type]
