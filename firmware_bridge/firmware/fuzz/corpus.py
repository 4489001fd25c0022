"""Keeps a fuzzer's corpus as one file: an input a line, in hexadecimal.

``python fuzz/corpus.py unpack fuzz/corpus/device.txt FOLDER`` writes the inputs for libFuzzer;
``python fuzz/corpus.py pack FOLDER fuzz/corpus/device.txt`` keeps those of a folder, which libFuzzer minimised
(``-set_cover_merge=1``).
"""

from __future__ import annotations

import sys
from pathlib import Path


def unpack(file: Path, folder: Path) -> None:
    """Writes each input to a file of ``folder``, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate(file.read_text(encoding="ascii").splitlines()):
        (folder / f"{number:04d}").write_bytes(bytes.fromhex(line))


def pack(folder: Path, file: Path) -> None:
    """Writes the inputs in ``folder`` to one file, the shortest first."""
    inputs = sorted((path.read_bytes() for path in folder.iterdir()), key=lambda data: (len(data), data))
    file.write_text("".join(f"{data.hex()}\n" for data in inputs), encoding="ascii")


if __name__ == "__main__":
    {"unpack": unpack, "pack": pack}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
