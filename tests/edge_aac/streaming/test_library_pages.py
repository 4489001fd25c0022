"""Pages of libraries' files are let go of, and come back where they are needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_aac.streaming import library_pages
from edge_aac.streaming.library_pages import release_library_pages

_RELEASED = """
import sys

import numpy as np

from edge_aac.streaming.library_pages import release_library_pages


def held():
    with open("/proc/self/smaps_rollup") as lines:
        found = {name: rest for name, _, rest in (line.partition(":") for line in lines)}
    return int(found["Rss"].split()[0]), int(found["Anonymous"].split()[0])


def work():
    sound = np.random.default_rng(0).standard_normal(16_000)
    return float(np.abs(np.fft.rfft(sound)).sum() + np.linalg.svd(sound[:100].reshape(10, 10))[1].sum())


first = work()
before, anonymous_before = held()
released = release_library_pages()
after, anonymous_after = held()
assert work() == first
import sqlite3, decimal  # what is loaded afterwards finds its libraries as they were

assert sqlite3.connect(":memory:").execute("select 2 + 2").fetchone() == (4,)
release_library_pages()
assert work() == first
print(before - after, anonymous_before - anonymous_after, released)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="pages are Linux's to tell of")
def test_what_a_start_alone_needs_is_let_go_of_and_all_goes_on() -> None:
    command = [sys.executable, "-c", _RELEASED]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    fewer_kb, lost_kb, released = (int(number) for number in done.stdout.split())
    assert fewer_kb > 5_000, "numpy and the interpreter alone have more"
    assert released > 1024 * fewer_kb
    assert abs(lost_kb) < 300, "what was written is left alone"


_SMAPS = """\
00400000-00500000 r-xp 00000000 fd:00 7                          {program}
Rss:                 100 kB
Anonymous:             0 kB
VmFlags: rd ex
00500000-00501000 r--p 00100000 fd:00 7                          {program}
Anonymous:             4 kB
00501000-00502000 rw-p 00101000 fd:00 7                          {program}
Anonymous:             0 kB
7f0000000000-7f0000001000 r-xp 00000000 fd:00 8                  /no/library here.so (deleted)
Anonymous:             0 kB
7f0000001000-7f0000002000 r--s 00000000 fd:00 9                  {program}
Anonymous:             0 kB
7f0000002000-7f0000003000 r-xp 00000000 00:00 0                  [vdso]
Anonymous:             0 kB
7f0000003000-7f0000004000 r--p 00000000 00:00 0
Anonymous:             0 kB
"""


def test_only_what_cannot_have_been_written_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "smaps"
    told.write_text(_SMAPS.format(program=Path(sys.executable).resolve()))
    monkeypatch.setattr(library_pages, "_MAPPINGS", told)
    mappings = list(library_pages._mappings())
    assert [(mapping.start, mapping.access, mapping.anonymous_kb) for mapping in mappings] == [
        (0x400000, "r-xp", 0),
        (0x500000, "r--p", 4),
        (0x501000, "rw-p", 0),
        (0x7F0000000000, "r-xp", 0),
        (0x7F0000001000, "r--s", 0),
    ]
    advised: list[tuple[int, int]] = []

    class Library:
        """The C library of a process with these mappings."""

        gnu_get_libc_version = None

        def __init__(self, path: str | None, mode: int = 0) -> None:
            if path is not None:
                raise OSError("no library")

        @staticmethod
        def madvise(start: object, size: object, _: int) -> int:
            advised.append((start.value, size.value))  # type: ignore[attr-defined]
            return 0

    monkeypatch.setattr("ctypes.CDLL", Library)
    assert release_library_pages() == 0x100000
    assert advised == [(0x400000, 0x100000)]


def test_where_the_kernel_tells_nothing_nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_pages, "_MAPPINGS", tmp_path / "none")
    assert release_library_pages() == 0
