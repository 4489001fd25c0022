"""What commands have set: how long it holds, and how it is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_aac.service.overrides import Override, Overrides, Setting
from tests.edge_aac.service.control_cases import plan


def _kept(source: bytes) -> bytes:
    return b'{"schema": "edge-aac/commands/1", "sources": {"hall": %s}}' % source


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, None, 0.3),  # nothing changed in the configuration
        (0.1, 0.1, 0.3),
        (0.1, 0.2, 0.2),  # the configuration is the newer word
        (None, 0.2, 0.2),
        (0.1, None, None),
    ],
)
def test_a_value_set_by_command_holds_until_the_configuration_changes_its_own(
    before: float | None, after: float | None, expected: float | None
) -> None:
    overrides = Overrides()
    overrides.set("hall", Override(paused=True, min_score=Setting(0.3, before)))
    configured = plan("hall", min_score=after)
    overrides.keep_only([configured])
    listening = overrides.listening(configured)
    assert listening.settings.score_gate.min_score == expected
    assert listening.paused, "no change of a threshold ends a pause"
    # What the configuration has overruled does not come back where it is changed back.
    if after != before:
        overrides.keep_only([plan("hall", min_score=before)])
        assert overrides.listening(plan("hall", min_score=before)).settings.score_gate.min_score == before


def test_a_source_that_is_taken_out_is_forgotten() -> None:
    overrides = Overrides()
    overrides.set("hall", Override(paused=True))
    overrides.keep_only([plan("attic")])
    assert not overrides.listening(plan("hall")).paused


def test_a_file_with_the_label_of_a_paused_microphone_is_heard() -> None:
    overrides = Overrides()
    overrides.set("hall", Override(paused=True))
    assert not overrides.listening(plan("hall", "file:hall.wav")).paused


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"schema": "edge-aac/commands/2", "sources": {}}',
        b'{"schema": "edge-aac/commands/1", "sources": []}',
        _kept(b"{}"),
        _kept(b'{"paused": true, "min_score": {"value": "x", "instead_of": 1}}'),
        _kept(b'{"paused": true, "hop_s": {"value": 0, "instead_of": 2}}'),
        _kept(b'{"paused": true, "hop_s": {"value": NaN, "instead_of": 2}}'),
        _kept(b'{"paused": true, "hop_s": 2}'),
        b"[" * 100_000,
        b" " * 2_000_000,
    ],
)
def test_a_file_that_holds_anything_else_is_named_in_the_log_and_forgotten(
    text: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "commands.json"
    path.write_bytes(text)
    assert Overrides.load(path).by_label == {}
    assert "cannot be read" in caplog.text


def test_what_was_set_is_kept_whole_and_for_nobody_else_to_read(tmp_path: Path) -> None:
    path = tmp_path / "state" / "commands.json"
    overrides = Overrides.load(path)
    overrides.set("Küche", Override(True, Setting(0.25, None), Setting(4.0, 2.0)))
    overrides.save()
    assert Overrides.load(path).by_label == overrides.by_label
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["commands.json"]
    assert json.loads(path.read_text())["sources"]["Küche"]["paused"] is True


def test_a_folder_that_cannot_be_written_is_named_once_and_the_command_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    overrides = Overrides(tmp_path / "state" / "commands.json")
    for hop_s in (1.0, 2.0):
        overrides.set("hall", Override(hop_s=Setting(hop_s, 3.0)))
        overrides.save()
    assert caplog.text.count("are lost with a restart") == 1
    assert overrides.listening(plan("hall", hop_s=3.0)).hop_samples == 32_000
