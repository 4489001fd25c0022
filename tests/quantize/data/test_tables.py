"""Tables as people save them: what is read, and what is refused with its line."""

from __future__ import annotations

import csv
import io
import os
import random
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_aac.errors import DataError, EdgeAacError, InputMissingError
from quantize.data.clips import COLUMNS, load_clips, outlier_rows
from quantize.data.manifests import folder_manifest
from quantize.data.tables import MAX_LISTED, Table, read_table

_ANY_FOLDER = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def _table(folder: Path, content: bytes | str, encoding: str = "utf-8") -> Path:
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def _read(folder: Path, content: bytes | str, encoding: str = "utf-8") -> Table:
    return read_table(_table(folder, content, encoding), ("file", "note"))


def _cells(table: Table) -> list[tuple[int, str, str]]:
    return [(row.line, row.cells["file"], row.cells["note"]) for row in table.rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_spreadsheets_save(encoding: str, line_end: str, delimiter: str, tmp_path: Path) -> None:
    text = line_end.join([f"file{delimiter}note", f"a.wav{delimiter}Mü", "", f"b.wav{delimiter}x", ""])
    table = _read(tmp_path, text, encoding)
    assert (_cells(table), table.faults) == ([(2, "a.wav", "Mü"), (4, "b.wav", "x")], ())
    assert table.decimal_comma == (delimiter != ",")


@pytest.mark.parametrize("first", ["sep=;\r\n", "sep=|\n", "SEP=\t\r", "\n\n"])
def test_a_first_line_that_is_none_of_the_table(first: str, tmp_path: Path) -> None:
    delimiter = first[4] if "=" in first else ","
    table = _read(tmp_path, f"{first}note{delimiter}file\n1{delimiter}a.wav\n")
    assert [row.cells for row in table.rows] == [{"note": "1", "file": "a.wav"}]
    assert table.rows[0].line == first.count("\n") + first.count("\r") - first.count("\r\n") + 2


def test_line_ends_delimiters_and_quotation_marks_within_a_cell(tmp_path: Path) -> None:
    table = _read(tmp_path, 'file,note\r\na.wav,"one, ""two""\r\nthree"\r\nb.wav,4 "five"\r\n')
    assert _cells(table) == [(2, "a.wav", 'one, "two"\nthree'), (4, "b.wav", '4 "five"')]


@pytest.mark.parametrize("last", ["b.wav,2", "b.wav,2\n", "b.wav,2\n\n , \n"])
def test_however_the_file_ends(last: str, tmp_path: Path) -> None:
    assert _cells(_read(tmp_path, f"file,note\na.wav,1\n{last}")) == [(2, "a.wav", "1"), (3, "b.wav", "2")]


def test_columns_without_a_name_are_none(tmp_path: Path) -> None:
    table = _read(tmp_path, "file,note,,\na,1\nb,2,,\nc,3,a remark,\nd,4,,,5\n")
    assert table.columns == ("file", "note")
    assert [row.cells["file"] for row in table.rows] == ["a", "b", "c"]
    assert [fault.line for fault in table.faults] == [5]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("c.wav", "1 cell for 2 columns"),
        ("c.wav,1,2", "3 cells for 2 columns"),
        ('"c.wav,1', "quotation mark"),
        ('c.wav,"1', "quotation mark"),
        ('c.wav,"1"2', "behind a closing quotation mark"),
        ('c.wav,"1\n2', "quotation mark"),
        ("c.wav,\0", "NUL"),
        ("c.wav," + 131_073 * "x", "131073 characters"),
    ],
)
def test_a_bad_row_is_named_by_its_line_and_takes_no_other_with_it(row: str, reason: str, tmp_path: Path) -> None:
    table = _read(tmp_path, f'file,note\na.wav,1\n{row}\nd.wav,"4, 5"\ne.wav,"6"\n')
    assert [cells[1:] for cells in _cells(table)] == [("a.wav", "1"), ("d.wav", "4, 5"), ("e.wav", "6")]
    assert table.faults[0].line == 3 and reason in table.faults[0].reason
    with pytest.raises(DataError, match="line 3 "):
        table.whole()


def test_a_row_of_several_lines_that_does_not_fit_hides_none_behind_it(tmp_path: Path) -> None:
    # The quotation mark of line 2 is closed by that of line 3, as if both were one cell.
    table = _read(tmp_path, 'file,note\n"a.wav,1\nb.wav,"\nc.wav,3\n')
    assert _cells(table)[-1] == (4, "c.wav", "3")
    assert table.faults[0].line == 2


def test_a_long_list_of_faults_ends(tmp_path: Path) -> None:
    table = _read(tmp_path, "file,note\n" + "one\n" * (MAX_LISTED + 7))
    with pytest.raises(DataError) as caught:
        table.whole()
    message = str(caught.value)
    assert f"has {MAX_LISTED + 7} rows that cannot be used" in message and message.endswith("; and 7 more")
    assert f"line {MAX_LISTED + 1} has" in message and f"line {MAX_LISTED + 2} has" not in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty and has no column 'file'"),
        (b"\n\r\n\r", "is empty and has no column 'file'"),
        (b"File,note\n", "no column 'file'; it needs file, note, and has File, note"),
        (b"file,note,file\n", "has the column 'file' twice"),
        (b"file,note\na.wav,M\xfc\n", "byte 0xFC would be 'ü' in Windows-1252 at line 2; save it as CSV in UTF-8"),
        (b"file,note\r\ra.wav,\x81\n", "byte 0x81 at line 3"),
        (b"\xef\xbb\xbffile,note\n\n\xff", "at line 3"),
        ("file,note\n".encode("utf-16")[:-1], "damaged UTF-16"),
        (b'"file,note\na.wav,1\n', "line 1, which names the columns, opens a quotation mark"),
        (b"file\x00,note\n", "no column 'file'"),
        (bytes(1000), "no column 'file'"),
    ],
)
def test_what_is_no_table(content: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        _read(tmp_path, content)


def test_another_encoding_is_tried_where_it_is_allowed(tmp_path: Path) -> None:
    path = _table(tmp_path, "file,note\na.wav,Mü\n", "latin-1")
    assert _cells(read_table(path, ("file", "note"), ("latin-1",))) == [(2, "a.wav", "Mü")]


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "circle.csv").symlink_to("circle.csv")
    for path in (tmp_path / "none.csv", tmp_path, tmp_path / ("x" * 300), tmp_path / "circle.csv", Path("/dev/zero")):
        with pytest.raises(InputMissingError):
            read_table(path, ("file",))


def test_numbers_of_countries_that_write_a_comma(tmp_path: Path) -> None:
    commas, semicolons = (_read(tmp_path, f"file{mark}note\n") for mark in ",;")
    assert (semicolons.number(" 1,5"), semicolons.number("1.5"), commas.number("1.5")) == (1.5, 1.5, 1.5)
    for table, cell in ((commas, "1,5"), (semicolons, "1.000,5"), (semicolons, "")):
        with pytest.raises(ValueError, match="could not convert"):
            table.number(cell)


_LABELLED = f"{','.join(COLUMNS)}\nr1.flac,rooster,4,t,me,CC0,x\n"


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ("r2.flac,rooster,4,t,me,CC0\nr3.flac,rooster,4,t,me,CC0,x,y\n", [3, 4]),
        ("r2.flac,rooster,first,t,me,CC0,x\nr3.flac,rooster,-1,t,me,CC0,x\n", [3, 4]),
        (f"r2.flac,rooster,{'9' * 5000},t,me,CC0,x\n", [3]),
        ("r2.flac,hail,4,t,me,CC0,x\n\nr3.flac,rooster,,t,me,CC0,x\n", [3, 5]),
        ("../r2.flac,rooster,4,t,me,CC0,x\n/r3.flac,rooster,4,t,me,CC0,x\n,rooster,4,t,me,CC0,x\n", [3, 4, 5]),
        ('"r2.flac,rooster,4,t,me,CC0,x\n', [3]),
    ],
)
def test_all_rows_of_clips_that_cannot_be_used_are_listed(rows: str, lines: list[int], tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text(_LABELLED + rows, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_clips(tmp_path, (4,))
    assert [line for line in range(1, 10) if f"line {line} " in str(caught.value)] == lines


def test_all_recordings_that_cannot_be_used_are_listed(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text(_LABELLED + "r2.flac,rain,4,t,me,CC0,x\n", encoding="utf-8")
    with pytest.raises(InputMissingError, match=r"line 2 lists r1\.flac: .*; line 3 lists r2\.flac: "):
        load_clips(tmp_path, (4,))
    (tmp_path / "r2.flac").write_text("no sound")
    with pytest.raises(DataError, match=r"line 2 lists r1\.flac: .*; line 3 lists r2\.flac: "):
        load_clips(tmp_path, (4,))


def test_a_recording_that_never_ends_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text(_LABELLED, encoding="utf-8")
    os.mkfifo(tmp_path / "r1.flac")  # opening it would wait for a writer
    with pytest.raises(DataError, match="is no file"):
        load_clips(tmp_path, (4,))


def test_blanks_around_labels_and_folds_mean_nothing(tmp_path: Path) -> None:
    text = f"{';'.join(COLUMNS)}\r\nr1.flac; unknown;4 ;t;me;CC0;x\r\n"
    (tmp_path / "clips.csv").write_text(text, encoding="utf-16")
    (row,) = outlier_rows(tmp_path, (4,))
    assert (row["label"], row["fold"]) == ("unknown", "4")


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")), min_size=3, max_size=3),
        max_size=5,
    ),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
@_ANY_FOLDER
def test_what_the_csv_module_writes_is_read_as_it_was(
    tmp_path: Path, rows: list[list[str]], delimiter: str, line_end: str, quoting: int
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
    writer.writerows([["file", "note", "more"], *rows])
    table = _read(tmp_path, text.getvalue())
    assert table.faults == ()
    assert [list(row.cells.values()) for row in table.rows] == [row for row in rows if any(map(str.strip, row))]


def _outcomes(folder: Path, content: bytes) -> list[str]:
    """What the readers of users' tables make of bytes: errors of the user's, or nothing else at all."""
    outcomes = []
    (folder / "clips.csv").write_bytes(content)
    for read in (
        lambda: load_clips(folder, (4,)),
        lambda: outlier_rows(folder),
        lambda: folder_manifest(folder / "clips.csv", folder),
    ):
        try:
            read()
            outcomes.append("read")
        except (DataError, InputMissingError) as error:
            assert str(error)
            outcomes.append(type(error).__name__)
        except EdgeAacError as error:  # 70 is a fault of ours
            raise AssertionError(f"{type(error).__name__} of {content!r}") from error
    return outcomes


@given(st.binary(max_size=400), st.booleans())
@_ANY_FOLDER
def test_no_bytes_are_a_fault_of_ours(tmp_path: Path, content: bytes, headed: bool) -> None:
    header = ",".join([*COLUMNS, "caption"]).encode() + b"\n" if headed else b""
    assert len(_outcomes(tmp_path, header + content)) == 3


@given(st.integers(0, 2**32), st.integers(1, 8), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
@_ANY_FOLDER
def test_no_mutation_of_a_good_table_is_a_fault_of_ours(
    tmp_path: Path, seed: int, mutations: int, encoding: str
) -> None:
    rng = random.Random(seed)
    cells = [["r1.flac", "rooster", "4", "Mü", "me", "CC0", "x", "a dog"] for _ in range(4)]
    content = bytearray("\r\n".join(map(",".join, [[*COLUMNS, "caption"], *cells])).encode(encoding))
    for _ in range(mutations):
        at = rng.randrange(len(content))
        pieces = [b'"', b",", b";", b"\n", b"\r", b"\0", b"\xff", rng.choice(string.printable).encode(), b'""', b"\t"]
        content[at : at + rng.randrange(3)] = rng.choice(pieces)
    assert len(_outcomes(tmp_path, bytes(content))) == 3
