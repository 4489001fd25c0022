"""Pages of libraries' files that nothing runs any more are taken out of this process.

What a start runs once stays resident for as long as the machine has memory to spare: the code that registers ONNX
Runtime's operators and optimises graphs, that builds schemas, that imports. It is clean, the kernel could drop it at
any time, but as long as memory is free nobody does, and it counts as this process's. Here it is let go of once the
start is done. It stays in the kernel's cache of files: a page that is needed after all comes back from there at its
next use, with its neighbours, without a disk being read.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_MAPPINGS = Path("/proc/self/smaps")
_EXECUTABLE = Path("/proc/self/exe")
_DONTNEED = 4  # MADV_DONTNEED of Linux


@dataclass
class _Mapping:
    """A part of a file in this process's memory.

    Attributes:
        start, end: its addresses.
        access: such as "r-xp": read, write, execute, private.
        path: of the file.
        anonymous_kb: of its pages, those that are no longer the file's: they were written.
    """

    start: int
    end: int
    access: str
    path: str
    anonymous_kb: int = 0


def release_library_pages() -> int:
    """Let go of all pages of libraries' files, and of the program's own, that hold what is in the file.

    Only of libraries that never go away again, since they are held here: what is mapped of them does not change while
    this looks at it, whatever other threads load meanwhile. What may be written, or was, is left alone: tables of
    addresses, which the loader fills in, are.

    Returns:
        The bytes of address space in which no page is resident now; 0 where there is no Linux, or no glibc, to ask.
    """
    libc = ctypes.CDLL(None)
    madvise: Callable[[ctypes.c_void_p, ctypes.c_size_t, int], int] | None = getattr(libc, "madvise", None)
    if madvise is None or not hasattr(libc, "gnu_get_libc_version"):
        return 0
    try:
        code = {mapping.path for mapping in _mappings() if "x" in mapping.access}
        held = {path for path in code if _stays(path)}
        # Looked at again: only now nothing of them is about to be written by a loader, or unmapped.
        unwritten = [
            mapping
            for mapping in _mappings()
            if mapping.path in held
            and mapping.access[1] == "-"
            and mapping.access[3] == "p"
            and not mapping.anonymous_kb
        ]
    except OSError:
        return 0
    released = 0
    for mapping in unwritten:
        size = mapping.end - mapping.start
        if madvise(ctypes.c_void_p(mapping.start), ctypes.c_size_t(size), _DONTNEED) == 0:
            released += size
    return released


def _stays(path: str) -> bool:
    """Whether a file is a loaded library, which stays loaded from now on, or the program itself."""
    if _is_program(path):
        return True
    try:
        ctypes.CDLL(path, mode=os.RTLD_LAZY | os.RTLD_NOLOAD | os.RTLD_NODELETE)
    except OSError:  # no library, or one that was replaced on the disk or is gone again
        return False
    return True


def _is_program(path: str) -> bool:
    try:
        return os.path.samefile(path, _EXECUTABLE)
    except OSError:
        return False


def _mappings() -> Iterator[_Mapping]:
    """The parts of files that are in memory, by address.

    Raises:
        OSError: the kernel does not tell.
    """
    current: _Mapping | None = None
    with _MAPPINGS.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            name, _, rest = line.partition(" ")
            if name.endswith(":"):
                if current is not None and name == "Anonymous:":
                    current.anonymous_kb = int(rest.split()[0])
                continue
            if current is not None:
                yield current
            # Access, offset, device, inode, path.
            fields = rest.rstrip("\n").split(maxsplit=4)
            start, _, end = name.partition("-")
            is_file = len(fields) == 5 and fields[4].startswith("/")  # noqa: PLR2004
            current = _Mapping(int(start, 16), int(end, 16), fields[0], fields[4]) if is_file else None
    if current is not None:
        yield current
