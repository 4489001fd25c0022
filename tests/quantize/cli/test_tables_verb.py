"""Tables of the user's through the installed command: one sentence with the lines, and the code of bad data."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantize.data.clips import COLUMNS
from tests.system.command import run_edge_aac

_HEADER = ",".join(COLUMNS)


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (f"{_HEADER}\nr1.flac,rooster,4\nr2.flac,rooster\n".encode(), 65, "line 2 has 3 cells for 7 columns"),
        # Read, and then the recording is missing.
        (f"{_HEADER}\r\nr1.flac,rooster,4,t,me,CC0,x\r\n".replace(",", ";").encode("utf-8-sig"), 66, "line 2 lists"),
    ],
    ids=["short rows", "semicolons and a byte-order mark"],
)
def test_clips_as_people_save_them(content: bytes, code: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_bytes(content)
    result = run_edge_aac("evaluate", "--data", tmp_path, "--scenes", "1")
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    (sentence,) = [line for line in result.stderr.splitlines() if "clips.csv" in line]
    assert words in sentence and "Traceback" not in result.stderr
