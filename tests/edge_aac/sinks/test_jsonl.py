"""Records in a file: whole lines, rotated, and nothing lost to a full disk, a moved file or a power cut."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edge_aac.errors import ConfigError, DeviceError, EdgeAacError, InputMissingError
from edge_aac.sinks.contract import TransientSinkError
from edge_aac.sinks.jsonl import JsonlSettings, JsonlSink
from tests.edge_aac.fakes import caption_record

_LINE_BYTES = len(caption_record(0).to_json()) + 1


def _sink(path: Path, **keys: Any) -> JsonlSink:
    return JsonlSink(JsonlSettings(path=path, **keys))


def _seqs(path: Path) -> list[int]:
    return [json.loads(line)["seq"] for line in path.read_text().splitlines()]


def test_each_record_is_a_line_and_a_second_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "heard.jsonl"
    for first in (0, 2):
        sink = _sink(path)
        for seq in (first, first + 1):
            sink.publish(caption_record(seq, caption="ein Hund bellt – töne ♪\nneue Zeile"))
        sink.close()
    assert _seqs(path) == [0, 1, 2, 3]
    assert path.stat().st_mode & 0o007 == 0, "what was heard at home is not for every user of the machine"


def test_rotation_keeps_the_newest_files(tmp_path: Path) -> None:
    path = tmp_path / "heard.jsonl"
    sink = _sink(path, max_mb=2.5 * _LINE_BYTES / 1e6, keep=2)
    for seq in range(9):
        sink.publish(caption_record(seq))
    sink.close()
    files = {file.name: _seqs(file) for file in tmp_path.iterdir()}
    assert files == {"heard.jsonl": [8], "heard.jsonl.1": [6, 7], "heard.jsonl.2": [4, 5]}


def test_without_rotated_files_the_one_file_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "heard.jsonl"
    sink = _sink(path, max_mb=2.5 * _LINE_BYTES / 1e6, keep=0)
    for seq in range(5):
        sink.publish(caption_record(seq))
    sink.close()
    assert [file.name for file in tmp_path.iterdir()] == ["heard.jsonl"]
    assert _seqs(path) == [4]


def test_zero_megabytes_never_rotate(tmp_path: Path) -> None:
    path = tmp_path / "heard.jsonl"
    sink = _sink(path, max_mb=0)
    for seq in range(50):
        sink.publish(caption_record(seq))
    sink.close()
    assert _seqs(path) == list(range(50))


@pytest.mark.parametrize("how", ["moved", "deleted", "replaced"])
def test_a_file_that_somebody_moved_or_deleted_is_begun_anew(tmp_path: Path, how: str) -> None:
    path = tmp_path / "heard.jsonl"
    sink = _sink(path)
    sink.publish(caption_record(0))
    if how == "deleted":
        path.unlink()
    else:
        path.rename(tmp_path / "heard.old")
        if how == "replaced":
            path.touch()
    sink.publish(caption_record(1))
    sink.close()
    assert _seqs(path) == [1]
    assert how == "deleted" or _seqs(tmp_path / "heard.old") == [0]


def test_a_line_that_a_power_cut_tore_does_not_spoil_the_next(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "heard.jsonl"
    path.write_text('{"seq": 0}\n{"seq": 1, "capt')
    sink = _sink(path)
    sink.publish(caption_record(2))
    sink.close()
    first, torn, last = path.read_text().splitlines()
    assert (json.loads(first)["seq"], torn, json.loads(last)["seq"]) == (0, '{"seq": 1, "capt', 2)
    assert "cut off" in caplog.text


def test_a_full_disk_is_waited_out_and_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "heard.jsonl"
    sink = _sink(path)
    sink.publish(caption_record(0))
    real_write, calls = os.write, {"count": 0}

    def write_half_then_fail(descriptor: int, data: bytes) -> int:
        calls["count"] += 1
        if calls["count"] == 1:
            return real_write(descriptor, data[: len(data) // 2])
        if calls["count"] == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", write_half_then_fail)
    with pytest.raises(TransientSinkError, match="No space left"):
        sink.publish(caption_record(1))
    assert _seqs(path) == [0]
    sink.publish(caption_record(1))
    sink.close()
    assert _seqs(path) == [0, 1]


def test_the_real_full_device_is_a_fault_that_may_pass(tmp_path: Path) -> None:
    sink = _sink(tmp_path / "heard.jsonl")
    os.dup2(os.open("/dev/full", os.O_RDWR), sink._descriptor)
    (tmp_path / "heard.jsonl").unlink()
    os.symlink("/dev/full", tmp_path / "heard.jsonl")
    with pytest.raises(TransientSinkError, match="No space left"):
        sink.publish(caption_record(0))


def test_a_folder_that_is_away_is_waited_for(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    sink = _sink(stick / "heard.jsonl")
    stick.rename(tmp_path / "unplugged")
    with pytest.raises(TransientSinkError, match="No such file"):
        sink.publish(caption_record(0))
    (tmp_path / "unplugged").rename(stick)
    sink.publish(caption_record(0))
    sink.close()
    assert _seqs(stick / "heard.jsonl") == [0]


def test_another_fault_ends_the_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(errno.EPERM, "Operation not permitted")

    sink = _sink(tmp_path / "heard.jsonl")
    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(DeviceError, match="not permitted"):
        sink.publish(caption_record(0))


def test_fsync_waits_for_the_disk_after_each_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for fsync, expected in ((True, 4), (False, 1)):
        synced.clear()
        sink = _sink(tmp_path / "heard.jsonl", fsync=fsync)
        for seq in range(3):
            sink.publish(caption_record(seq))
        sink.close()
        assert len(synced) == expected


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("nowhere/heard.jsonl", InputMissingError, "no folder"),
        ("folder", ConfigError, "is a folder"),
        ("pipe", EdgeAacError, "pipe"),
        ("bad\0name", DeviceError, "cannot be opened"),
    ],
)
def test_a_path_that_is_no_file_is_refused(tmp_path: Path, name: str, error: type[EdgeAacError], match: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(error, match=match):
        _sink(tmp_path / name)


def test_two_sinks_cannot_write_one_file(tmp_path: Path) -> None:
    sink = _sink(tmp_path / "heard.jsonl")
    with pytest.raises(ConfigError, match="another"):
        _sink(tmp_path / "heard.jsonl")
    sink.close()
    _sink(tmp_path / "heard.jsonl").close()


def test_the_short_form_gives_the_path() -> None:
    assert JsonlSettings.parse("/var/log/heard.jsonl") == JsonlSettings(path=Path("/var/log/heard.jsonl"))
    with pytest.raises(ValueError, match="path"):
        JsonlSettings.parse("")


def test_a_kind_of_record_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="no kind of record"):
        JsonlSettings(path=tmp_path / "x", records=("captions",))
