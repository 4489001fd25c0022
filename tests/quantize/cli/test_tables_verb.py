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
        (f"{_HEADER}\nr1.flac,rooster,4,Mü,me,CC0,x\n".encode("latin-1"), 65, "at line 2; save it as CSV in UTF-8"),
        (f"{_HEADER}\nr1.flac,rooster,4\nr2.flac,rooster\n".encode(), 65, "line 2 has 3 cells for 7 columns"),
        (f'{_HEADER}\n"r1.flac,rooster,4,t,me,CC0,x\n'.encode(), 65, "line 2 opens a quotation mark"),
        (f"{_HEADER}\nr1.flac,rooster,4,{'t' * 140_000},me,CC0,x\n".encode(), 65, "a cell of 140000 characters"),
        # Read, and then the recording is missing.
        (f"{_HEADER}\r\nr1.flac,rooster,4,t,me,CC0,x\r\n".encode("utf-8-sig"), 66, "line 2 lists r1.flac: "),
        (f"{_HEADER}\r\nr1.flac,rooster,4,t,me,CC0,x\r\n".replace(",", "\t").encode("utf-16"), 66, "line 2 lists"),
        (f"{_HEADER}\r\nr1.flac,rooster,4,t,me,CC0,x\r\n".replace(",", ";").encode(), 66, "line 2 lists r1.flac: "),
    ],
    ids=["latin-1", "short rows", "unclosed", "long cell", "bom", "utf-16", "semicolons"],
)
def test_clips_as_people_save_them(content: bytes, code: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_bytes(content)
    result = run_edge_aac("evaluate", "--data", tmp_path, "--scenes", "1")
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    (sentence,) = [line for line in result.stderr.splitlines() if "clips.csv" in line]
    assert words in sentence and "Traceback" not in result.stderr
