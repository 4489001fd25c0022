"""Tar shards: written whole or not at all, read by random access and by anyone else's tar."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import subprocess
import sys
import tarfile
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from edge_aac.errors import ConfigError, DataError, DeviceError, InputMissingError
from quantize.data.shards import INDEX, Sample, ShardReader, ShardWriter, shard_key

METADATA = {"teacher": "abc", "settings": {"layers": [1, 2]}}


def sample(number: int) -> Sample:
    rng = np.random.default_rng(number)
    arrays = {
        "fbank": rng.standard_normal((number % 5 + 1, 8)).astype(np.float16),
        "token-ids": rng.integers(9, size=number % 3),
        "level_db": np.float32(number),
    }
    return Sample(f"clip-{number}", arrays, {"caption": f"a déjà vu {number}", "labels": ["rain"]})


def write(folder: Path, first: int, stop: int, **options: Any) -> None:
    with ShardWriter(folder, 4, METADATA, **options) as writer:
        for number in range(first, stop):
            wanted = sample(number)
            writer.write(wanted.key, wanted.arrays, wanted.record)


def same(got: Sample, wanted: Sample) -> bool:
    return (
        (got.key, got.record, list(got.arrays)) == (wanted.key, wanted.record, list(wanted.arrays))
        and all(np.array_equal(got.arrays[field], wanted.arrays[field]) for field in wanted.arrays)
        and all(got.arrays[field].dtype == wanted.arrays[field].dtype for field in wanted.arrays)
    )


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Ten samples in shards of 4, 4 and 2."""
    write(tmp_path / "shards", 0, 10)
    return tmp_path / "shards"


def test_samples_come_back_in_any_order(shards: Path) -> None:
    reader = ShardReader(shards)
    assert (len(reader), reader.metadata) == (10, METADATA)
    for number in (9, 0, 3, 4, 7, 8, -1, -10):
        assert same(reader[number], sample(number % 10))
    assert all(same(got, sample(number)) for number, got in enumerate(reader))
    assert reader.keys() == [sample(number).key for number in range(10)]
    for beyond in (10, -11):
        with pytest.raises(IndexError, match="holds 10"):
            reader[beyond]
    reader.verify()


def test_anyone_reads_them_in_the_convention_of_webdataset(shards: Path) -> None:
    """Members that stand together and share their name up to the first dot are a sample."""
    found = []
    for path in sorted(shards.glob("shard-*.tar")):
        with tarfile.open(path) as archive:
            for key, members in groupby(archive, key=lambda member: member.name.split(".", 1)[0]):
                parts = {m.name.split(".", 1)[1]: archive.extractfile(m).read() for m in members}  # type: ignore[union-attr]
                record = json.loads(parts.pop("json"))
                arrays = {name.removesuffix(".npy"): np.load(io.BytesIO(part)) for name, part in parts.items()}
                found.append(Sample(key, arrays, record))
    assert len(found) == 10 and all(same(got, sample(number)) for number, got in enumerate(found))


def test_worker_processes_read_them(shards: Path) -> None:
    reader = ShardReader(shards)
    assert same(reader[5], sample(5))
    for method in ("fork", "spawn"):
        loader = DataLoader(
            reader, batch_size=None, num_workers=1 if method == "spawn" else 2, multiprocessing_context=method
        )
        assert all(same(got, sample(number)) for number, got in enumerate(loader))
    assert same(pickle.loads(pickle.dumps(reader))[9], sample(9))


def test_where_samples_lie_is_found_again(shards: Path) -> None:
    for path in shards.glob("*.members.json"):
        path.unlink()
    assert all(same(got, sample(number)) for number, got in enumerate(ShardReader(shards)))


@pytest.mark.parametrize("nonsense", ["{", "3", "[[1]]", '[["a", 2]]', '[["a", {"x": [1]}]]', '{"a": null}'])
def test_nonsense_of_where_samples_lie_is_not_believed(shards: Path, nonsense: str) -> None:
    (shards / "shard-000001.members.json").write_text(nonsense)
    assert same(ShardReader(shards)[5], sample(5))


def test_a_resumed_folder_equals_one_that_was_written_at_once(shards: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    with pytest.raises(KeyboardInterrupt), ShardWriter(again, 4, METADATA) as writer:
        for number in range(6):
            wanted = sample(number)
            writer.write(wanted.key, wanted.arrays, wanted.record)
        assert writer.written == 6
        raise KeyboardInterrupt
    assert sorted(content(again)) == [INDEX, "shard-000000.members.json", "shard-000000.tar"]
    with pytest.raises(DataError, match="run the same command again"):
        ShardReader(again)
    with ShardWriter(again, 4, METADATA, resume=True) as writer:
        assert (writer.written, writer.complete) == (4, False)
        for number in range(writer.written, 10):
            wanted = sample(number)
            writer.write(wanted.key, wanted.arrays, wanted.record)
    assert content(again) == content(shards)


KILLED = """
import os, sys
from pathlib import Path
import numpy as np
from quantize.data.shards import ShardWriter

writer = ShardWriter(Path(sys.argv[1]), 2)
for number in range(5):
    writer.write(f"k{number}", {"x": np.zeros(100_000)}, {})
os._exit(9)
"""


def test_a_killed_writer_leaves_its_whole_shards(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    assert subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False).returncode == 9
    assert list(folder.glob("*.partial"))
    with ShardWriter(folder, 2, resume=True) as writer:
        assert writer.written == 4 and not list(folder.glob("*.partial"))
    assert ShardReader(folder).keys() == ["k0", "k1", "k2", "k3"]


def test_a_complete_folder_stays_as_it_is(shards: Path) -> None:
    before = content(shards)
    with ShardWriter(shards, 4, METADATA, resume=True) as writer:
        assert (writer.written, writer.complete) == (10, True)
        with pytest.raises(ValueError, match="takes no more"):
            writer.write("more", {}, {})
    assert content(shards) == before


def test_no_samples_are_a_folder_too(tmp_path: Path) -> None:
    write(tmp_path / "none", 0, 0)
    assert len(ShardReader(tmp_path / "none")) == 0 and list(ShardReader(tmp_path / "none")) == []


def test_shards_are_not_written_over(shards: Path) -> None:
    before = content(shards)
    with pytest.raises(ConfigError, match="holds shards already"):
        ShardWriter(shards, 4, METADATA)
    with pytest.raises(ConfigError, match="another samples_per_shard"):
        ShardWriter(shards, 5, METADATA, resume=True)
    with pytest.raises(ConfigError, match="another metadata"):
        ShardWriter(shards, 4, {**METADATA, "teacher": "other"}, resume=True)
    assert content(shards) == before
    (shards / INDEX).unlink()
    with pytest.raises(ConfigError, match="without an index"):
        ShardWriter(shards, 4, METADATA, resume=True)
    with pytest.raises(ConfigError, match="at least 1"):
        ShardWriter(shards, 0)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, 4), pytest.raises(DeviceError, match="another process"):
        ShardWriter(tmp_path, 4, resume=True)
    ShardWriter(tmp_path, 4, resume=True).__exit__(None, None, None)


@pytest.mark.parametrize(
    ("key", "arrays", "record"),
    [
        ("", {}, {}),
        ("a.b", {}, {}),
        ("../a", {}, {}),
        ("a b", {}, {}),
        ("first", {}, {}),
        ("a", {"x.y": np.zeros(1)}, {}),
        ("a", {"": np.zeros(1)}, {}),
        ("a", {"x": np.array([{}])}, {}),
        ("a", {}, {"x": float("nan")}),
    ],
)
def test_what_cannot_be_stored_is_refused_and_nothing_of_it_written(
    tmp_path: Path, key: str, arrays: dict[str, np.ndarray], record: dict[str, Any]
) -> None:
    with ShardWriter(tmp_path, 4) as writer:
        writer.write("first", {}, {})
        with pytest.raises(ValueError):
            writer.write(key, {"good": np.zeros(3), **arrays}, record)
        writer.write("last", {}, {})
    assert ShardReader(tmp_path).keys() == ["first", "last"]


def test_keys_for_any_name(tmp_path: Path) -> None:
    names = ["a.wav", "a/b.wav", "a b", "ä%2E", "a%2Ewav", "../x", "~", "x" * 200]
    assert len({shard_key(name) for name in names}) == len(names)
    with ShardWriter(tmp_path) as writer:
        for name in names:
            writer.write(shard_key(name), {"x": np.zeros(2)}, {"name": name})
    assert [got.record["name"] for got in ShardReader(tmp_path)] == names


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_later(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    big = np.zeros(20_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))
    try:
        with pytest.raises(DeviceError, match="full"), ShardWriter(tmp_path, 2) as writer:
            for number, array in enumerate([big, big, big, big[:3], np.zeros(60_000)]):
                writer.write(str(number), {"x": array}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.glob("*.partial"))
    with ShardWriter(tmp_path, 2, resume=True) as writer:
        assert writer.written == 4


def test_a_failed_write_cannot_be_passed_over(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ShardWriter(tmp_path, 2) as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))
        try:
            with pytest.raises(DeviceError, match="full"):
                writer.write("big", {"x": np.zeros(60_000)}, {})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        with pytest.raises(ValueError, match="a write into it failed"):
            writer.write("small", {}, {})
    with pytest.raises(DataError, match="unfinished"):
        ShardReader(tmp_path)


@pytest.mark.parametrize(
    "change", [lambda raw: raw[:-1], lambda raw: raw[:700], lambda raw: raw + b"\0", lambda raw: b""]
)
def test_a_shard_of_another_size_is_refused(shards: Path, change: Any) -> None:
    path = shards / "shard-000001.tar"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=r"shard-000001\.tar has \d+ bytes"):
        ShardReader(shards)
    with pytest.raises(DataError, match="bytes"):
        ShardWriter(shards, 4, METADATA, resume=True)


def test_a_shard_cut_while_it_is_read_is_one_sentence(shards: Path) -> None:
    reader = ShardReader(shards)
    os.truncate(shards / "shard-000001.tar", 600)
    with pytest.raises(DataError, match="clip-6 in .* is damaged"):
        reader[6]


def test_a_shard_that_goes_away_is_one_sentence(shards: Path) -> None:
    reader = ShardReader(shards)
    assert same(reader[0], sample(0))
    for name in ("shard-000000.tar", "shard-000002.tar", "shard-000002.members.json"):
        (shards / name).unlink()
    for read in (lambda: reader[0], lambda: reader[9], reader.verify, lambda: ShardReader(shards)):
        with pytest.raises(InputMissingError, match="shard-00000"):
            read()


def test_a_changed_byte_is_found_by_its_hash(shards: Path) -> None:
    path = shards / "shard-000000.tar"
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"\x93NUMPY") + 130] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"shard-000000\.tar is not what was written"):
        ShardReader(shards).verify()


def test_no_pickle_is_loaded(tmp_path: Path) -> None:
    """An array of Python objects, put where an array of the same size was."""
    evil = io.BytesIO()
    np.save(evil, np.array([{}], dtype=object), allow_pickle=True)
    with ShardWriter(tmp_path) as writer:
        writer.write("a", {"x": np.zeros(len(evil.getvalue()) - 128, np.uint8)}, {})
    path = tmp_path / "shard-000000.tar"
    raw = bytearray(path.read_bytes())
    start = raw.index(b"\x93NUMPY")
    raw[start : start + len(evil.getvalue())] = evil.getvalue()
    path.write_bytes(raw)
    with pytest.raises(DataError, match="Object arrays cannot be loaded"):
        ShardReader(tmp_path)[0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"complete": true', '"complete": false', "run the same command again"),
        ('"schema": "edge-aac/shards/1"', '"schema": "edge-aac/shards/9"', "reads 'edge-aac/shards/1'"),
        ("shard-000001.tar", "../other.tar", "no shards of it"),
        ('"bytes":', '"size":', "damaged"),
        ("{", "", "damaged"),
        ('"count": 4', '"count": 5', "holds 4 samples, not 5"),
    ],
)
def test_an_index_of_no_use_is_one_sentence(shards: Path, old: str, new: str, words: str) -> None:
    text = (shards / INDEX).read_text()
    assert old in text
    (shards / INDEX).write_text(text.replace(old, new))
    with pytest.raises(DataError, match=words):
        ShardReader(shards).keys()


def test_missing_shards_are_one_sentence(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="no shards in"):
        ShardReader(tmp_path / "nowhere")
    (shards / "shard-000001.tar").unlink()
    with pytest.raises(InputMissingError, match="is missing"):
        ShardReader(shards)
