"""`edge-aac doctor` and `edge-aac support-dump` as a user runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from edge_aac.bundle.build_reports import keep_report
from edge_aac.bundle.store import DEFAULT_BUNDLE, built_in_bundles, open_bundle
from tests.edge_aac.demo_words import tells
from tests.system.command import noise, run_edge_aac, write_wav

pytestmark = pytest.mark.one_python


def _checks(text: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in text.splitlines():
        table = json.loads(line)
        found.setdefault(table["check"], []).append(table)
    return found


def _captions_of(scene: str) -> str:
    """What the check of the scene quotes; the rest of it names what is played, too."""
    return " ".join(re.findall("“(.*?)”", scene))


def test_a_machine_on_which_all_is_well(tmp_path: Path) -> None:
    heard = tmp_path / "heard.jsonl"
    heard.write_text('{"schema": "edge-aac/caption/1"}\n')
    before = heard.stat()
    sound = write_wav(tmp_path / "garden.wav", noise(3.0))
    done = run_edge_aac(
        "doctor", "--json", "--device", f"file:{sound}", "--device", "demo:", "--sink", f"jsonl:{heard}"
    )
    checks = _checks(done.stdout)
    failed = [table for tables in checks.values() for table in tables if table["status"] == "failed"]
    assert (done.returncode, done.stderr, failed) == (0, "", [])
    assert set(checks) >= {
        *("versions", "configuration", "bundle", "scene", f"source {sound}", "source demo", "sink jsonl"),
        *("sound-system", "ffmpeg", "gpu", "board", "temperature", "memory", f"disk {tmp_path}", "clock", "service"),
    }
    (scene,) = checks["scene"]
    manifest = open_bundle(DEFAULT_BUNDLE).manifest
    for played in ("birdsong", "drum", "guitar"):
        assert tells(played, _captions_of(scene["text"])), scene
    assert f"{len(manifest.files())} files" in checks["bundle"][0]["text"]
    assert "1.0 s of sound at -2" in checks[f"source {sound}"][0]["text"]
    after = heard.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns), "no record was added"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["garden.wav", "heard.jsonl"]


def test_what_is_broken_is_named_with_its_mend(tmp_path: Path) -> None:
    silence = write_wav(tmp_path / "cable.wav", 0 * noise(2.0))
    config = tmp_path / "config.toml"
    config.write_text(
        f"""
        [[sources]]
        address = "file:{silence}"
        name = "garden"
        [[sources]]
        address = "file:{tmp_path}/gone.wav"
        name = "gone"
        [[sinks]]
        kind = "jsonl"
        path = "{tmp_path}/no-such-folder/heard.jsonl"
        [captioner]
        bundle = "{tmp_path}/no-bundle"
        """
    )
    done = run_edge_aac("doctor", "--config", config)
    assert done.returncode == 1
    lines = {line.split(": ")[0]: line for line in done.stdout.splitlines()}
    assert "digital silence" in lines["warning  source garden"]
    for name in ("source gone", "sink jsonl", "bundle", "scene"):
        assert f"failed   {name}" in lines, done.stdout
    assert "make it" in lines["failed   sink jsonl"]
    assert done.stdout.splitlines()[-1].endswith("failed")


def test_a_configuration_with_a_fault_is_one_of_the_findings(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[stream]\nhop_s = -1\n")
    done = run_edge_aac("doctor", "--json", "--config", config)
    assert done.returncode == 1
    checks = _checks(done.stdout)
    assert checks["configuration"][0]["status"] == "failed"
    assert "stream.hop_s" in checks["configuration"][0]["text"]
    assert checks["scene"][0]["status"] == "warning"
    assert checks["versions"][0]["status"] == "ok", "the others go on"


def test_a_bundle_that_was_tampered_with(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(built_in_bundles()[DEFAULT_BUNDLE], bundle)
    with (bundle / "tokenizer.json").open("ab") as stream:
        stream.write(b"\n")
    done = run_edge_aac("doctor", "--json", "--device", "demo:", "--bundle", bundle)
    assert done.returncode == 1
    assert "SHA-256 differs" in _checks(done.stdout)["bundle"][0]["text"]


_OUTSIDE = """
import ctypes, time
from edge_aac.doctor.contract import Finding, Part

def hang():
    time.sleep(3600)
    yield Finding("ok", "never")

def check(context):
    return [Part(hang, "slow", 0.5), Part(lambda: [Finding("ok", "the bell rings")], "loud"), Part(lambda: [], "mute")]
"""


def test_checks_of_other_packages_run_too(tmp_path: Path) -> None:
    (tmp_path / "bell_checks.py").write_text(_OUTSIDE)
    facts = tmp_path / "bell-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: bell\nVersion: 1\n")
    (facts / "entry_points.txt").write_text(
        "[edge_aac.checks]\nbell = bell_checks:check\nbroken = no_such_module:check\n"
    )
    done = run_edge_aac("doctor", "--json", "--device", "demo:", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    checks = _checks(done.stdout)
    assert "was ended" in checks["bell slow"][0]["text"]
    assert checks["bell loud"][0] == {"check": "bell loud", "status": "ok", "text": "the bell rings"}
    assert "found nothing" in checks["bell mute"][0]["text"]
    assert "install that package again" in checks["broken"][0]["text"]


_LOGGED = (
    "edge-aac: listening to garden",
    '{"schema":"edge-aac/caption/1","caption":"a secret conversation"}',
    '{"schema":"edge-aac/health/1","state":"listening"}',
    "14:00:00-14:00:10 UTC  garden  a secret conversation",
    "garden.wav      0.0 s -   10.0 s  a secret conversation",
    "edge-aac: rtsp://logged:planted-journal-url@camera/x failed",
    "edge-aac: broker refused planted-config-key",
    "program ring writes: a secret conversation",
    "edge-aac: cannot read /home/planted-user/x, pwd=planted-journal-word",
)
"""What the service wrote to its standard streams."""
_WRITTEN = (
    ("hall: a secret conversation", {"_TRANSPORT": "syslog"}),
    ("hall: [alert] talk: a secret conversation", {"_TRANSPORT": "journal", "EDGE_AAC_KIND": "alert"}),
    (list("hall: a secret conversation \u2014 caf\u00e9".encode("latin-1", "replace")), {"_TRANSPORT": "syslog"}),
    ("hall: [listening] 12 windows", {"_TRANSPORT": "journal", "EDGE_AAC_KIND": "health"}),
    ('{"schema":"edge-aac/health/1","state":"mute"}', {"_TRANSPORT": "syslog"}),
    ("Started edge-aac.service.", {"_TRANSPORT": "journal", "SYSLOG_IDENTIFIER": "systemd"}),
)
"""What came to the journal by sinks, and of the service manager."""


def _journalctl() -> str:
    """A program in place of journalctl: it gives entries as JSON, as that does where it is asked to."""
    written = [(message, {"_TRANSPORT": "stdout"}) for message in _LOGGED] + list(_WRITTEN)
    entries = [
        {
            "__REALTIME_TIMESTAMP": str(1_795_960_800_000_000 + number),
            "MESSAGE": message,
            "SYSLOG_IDENTIFIER": "edge-aac",
            "_HOSTNAME": "box",
            "_PID": "1",
            **fields,
        }
        for number, (message, fields) in enumerate(written)
    ]
    lines = "\n".join(json.dumps(entry) for entry in entries)
    return f"#!/bin/sh\ncase \"$*\" in *'-o json '*) ;; *) exit 1;; esac\ncat <<'END'\n{lines}\nEND\n"


def test_a_dump_holds_no_secret_and_nothing_that_was_heard(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "journalctl").write_text(_journalctl())
    (tools / "journalctl").chmod(0o755)
    password = tmp_path / "camera-password"
    password.write_text("planted-password-file\n")
    state = tmp_path / "health.json"
    state.write_text(json.dumps({"status": "rtsp://x:planted-state@camera/x failed", "password": "planted-state-key"}))
    config = tmp_path / "config.toml"
    config.write_text(
        """
        [[sources]]
        address = "rtsp://planted-login:planted-url@camera/x?token=planted-option"
        [[sinks]]
        kind = "jsonl"
        path = "/home/planted-user/heard.jsonl"
        [mqtt]
        password = "planted-config-key"
        """
    )
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "EDGE_AAC_DEVICE": "",
        "CAMERA_TOKEN": "planted-variable",
        "CAMERA_PASSWORD_FILE": str(password),
        "EDGE_AAC_STATE_FILE": str(state),
        "EDGE_AAC_NODE": "http://a:planted-node@proxy",
    }
    archive = tmp_path / "dump.tar.gz"
    # [mqtt] may be no section: the dump is made all the same, and what the file holds is hidden all the same.
    done = run_edge_aac("support-dump", "--output", archive, "--config", config, env=environment)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    with tarfile.open(archive) as opened:
        members = opened.getmembers()
        texts = {member.name: (opened.extractfile(member) or pytest.fail()).read().decode() for member in members}
    assert all(name.startswith("dump/") for name in texts)
    whole = "".join(texts.values()) + done.stdout + done.stderr
    planted = [word for word in whole.replace('"', " ").split() if "planted" in word]
    assert planted == [], "secrets are in it"
    assert "secret conversation" not in whole
    journal = texts["dump/journal.txt"]
    assert "listening to garden" in journal
    assert "edge-aac/health/1" in journal
    assert "2026-11-29T14:00:00.000000+00:00 box edge-aac[1]: edge-aac: listening to garden\n" in journal
    assert journal.count("\n") == 8
    assert "camera/x failed" in journal
    assert "12 windows" in journal and '"mute"' in journal and "Started edge-aac.service" in journal
    assert "7 lines" in texts["dump/README.txt"]
    assert {json.loads(line)["check"] for line in texts["dump/doctor.jsonl"].splitlines()} >= {
        "versions",
        "configuration",
    }
    assert json.loads(texts["dump/health.json"])["status"] == "rtsp://********@camera/x failed"
    for name in texts:
        shown = name.removeprefix("dump/")
        assert shown in done.stdout, "the user is told what is inside"
        assert shown == "README.txt" or shown in texts["dump/README.txt"]
    assert not [name for name in texts if name.endswith((".onnx", ".wav", ".flac"))]


def test_a_dump_of_good_settings_shows_them(tmp_path: Path) -> None:
    archive = tmp_path / "dump.tar.gz"
    address = "file:/home/planted-user/x.wav?speed=1"
    keep_report(DEFAULT_BUNDLE, {"folder": "/home/planted-user/bundles", "failure": "memory does not suffice"})
    done = run_edge_aac("support-dump", "--output", archive, "--device", address, "--hop", "5")
    assert done.returncode == 0, done.stderr
    with tarfile.open(archive) as opened:
        settings = (opened.extractfile("dump/settings.toml") or pytest.fail()).read().decode()
        manifest = (opened.extractfile("dump/manifest.json") or pytest.fail()).read().decode()
        (build,) = json.loads((opened.extractfile("dump/builds.json") or pytest.fail()).read())
    assert build["report"] == {"folder": "/home/USER/bundles", "failure": "memory does not suffice"}
    assert "hop_s = 5.0  # --hop" in settings
    assert "file:/home/USER/x.wav?speed=1" in settings
    assert json.loads(manifest)["name"] == DEFAULT_BUNDLE
    again = run_edge_aac("support-dump", "--output", archive)
    assert (again.returncode, again.stdout) == (2, "")
    assert "there is already a file" in again.stderr
    nowhere = run_edge_aac("support-dump", "--output", tmp_path / "no" / "dump.tar.gz")
    assert nowhere.returncode == 66
