"""What the checks find on machines that are folders of a test."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from edge_aac.doctor import board, clock, disk, gpu, memory, service, sound_system, temperature, versions
from edge_aac.doctor.contract import Check, Context, Finding
from edge_aac.doctor.source import findings_of
from edge_aac.errors import DataError
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import load_settings


def _machine(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def _context(root: Path, table: Mapping[str, object] | None = None, **environment: str) -> Context:
    return Context(load_settings(None, Layer(table or {})), root=root, environment=environment)


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")


def _found(check: Check, context: Context) -> list[Finding]:
    return [finding for part in check(context) for finding in part.run()]


def _statuses(found: Sequence[Finding]) -> list[str]:
    return [finding.status for finding in found]


def test_versions_and_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _machine(tmp_path, {"etc/os-release": 'ID=debian\nPRETTY_NAME="Debian 12"\n'})
    first, second = _found(versions.check, _context(root))
    assert "Debian 12" in first.text
    assert "numpy" in second.text and "pyserial" in second.text and "paho-mqtt" in second.text
    monkeypatch.setattr(versions, "REQUIRED", ("numpy", "no-such-package"))
    assert Finding("failed", "no-such-package is missing", "install edge-aac again with pip") in _found(
        versions.check, _context(root)
    )


def test_boards(tmp_path: Path) -> None:
    jetson = _machine(
        tmp_path / "jetson",
        {
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
            "var/lib/nvpmodel/status": "pmode:0001 fmode:quiet",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "schedutil\n",
        },
    )
    (finding,) = _found(board.check, _context(jetson))
    assert finding.status == "ok"
    assert "Orin Nano Developer Kit," in finding.text
    assert "power mode 1," in finding.text
    (jetson / "etc").mkdir()
    (jetson / "etc/nvpmodel.conf").write_text("< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=MAXN_SUPER >\n")
    (finding,) = _found(board.check, _context(jetson))
    assert "power mode MAXN_SUPER (1)," in finding.text
    assert "governor schedutil" in finding.text
    container = _machine(tmp_path / "container", {"sys/devices/soc0/machine": "NVIDIA Jetson AGX Orin\n"})
    (finding,) = _found(board.check, _context(container))
    assert "NVIDIA Jetson AGX Orin," in finding.text, "where /proc/device-tree and /sys/firmware are hidden"
    (unknown,) = _found(board.check, _context(tmp_path / "nothing"))
    assert "unknown board" in unknown.text


def test_temperatures_and_their_limits(tmp_path: Path) -> None:
    assert _found(temperature.check, _context(tmp_path)) == [Finding("ok", "no sensors here")]
    zone = "sys/class/thermal/thermal_zone0/"
    warm = {f"{zone}temp": "71500\n", f"{zone}type": "cpu-thermal\n"}
    limits = {f"{zone}trip_point_0_type": "passive\n", f"{zone}trip_point_0_temp": "70000\n"}
    assert _found(temperature.check, _context(_machine(tmp_path / "a", warm))) == [Finding("ok", "cpu-thermal 72 °C")]
    found = _found(temperature.check, _context(_machine(tmp_path / "b", warm | limits)))
    assert _statuses(found) == ["warning", "ok"]
    assert "its limit is 70 °C" in found[0].text
    throttled = {"sys/devices/platform/soc/soc:firmware/get_throttled": "50005"}
    found = _found(temperature.check, _context(_machine(tmp_path / "pi", warm | throttled)))
    assert _statuses(found) == ["warning", "warning", "ok"]
    assert "the supply voltage is too low" in found[0].text


def test_memory_and_the_limits_around_it(tmp_path: Path) -> None:
    meminfo = "MemTotal: 4000000 kB\nMemAvailable: 3000000 kB\nSwapTotal: 0 kB\n"
    files = {
        "proc/meminfo": meminfo,
        "proc/self/cgroup": "0::/system.slice/edge-aac.service\n",
        "proc/vmstat": "oom_kill 0\n",
    }
    assert _statuses(_found(memory.check, _context(_machine(tmp_path / "a", files)))) == ["ok"]
    limited = files | {
        "sys/fs/cgroup/system.slice/edge-aac.service/memory.max": "100000000\n",
        "proc/vmstat": "oom_kill 3\n",
    }
    first, second = _found(memory.check, _context(_machine(tmp_path / "b", limited)))
    assert (first.status, "may take 100 MB" in first.text) == ("warning", True)
    assert "3 processes were killed" in second.text
    assert _statuses(_found(memory.check, _context(tmp_path / "nothing"))) == ["warning"]


def test_a_machine_without_a_gpu(tmp_path: Path) -> None:
    assert _found(gpu.check, _context(tmp_path)) == [Finding("ok", "no GPU here: graphs run on the processor")]
    wanted = _found(gpu.check, _context(tmp_path, {"captioner": {"backend": "tensorrt"}}))
    assert _statuses(wanted) == ["failed"]


def test_a_machine_with_a_gpu_that_cannot_be_used(tmp_path: Path) -> None:
    root = _machine(
        tmp_path, {"dev/nvmap": "", "dev/nvhost-gpu": "", "etc/nv_tegra_release": "# R36 (release), REVISION: 4.0\n"}
    )
    found = _found(gpu.check, _context(root))
    assert found[0] == Finding("ok", "R36 (release), REVISION: 4.0: /dev/nvhost-gpu, /dev/nvmap")
    assert found[-1].status == "warning"
    assert "TensorRT cannot be imported" in found[-1].text
    assert _found(gpu.check, _context(root, {"captioner": {"backend": "tensorrt"}}))[-1].status == "failed"


def test_sound_devices_groups_and_servers(tmp_path: Path) -> None:
    files = {"source": "demo:"}
    no_microphone = {"sources": [{"address": files["source"]}]}
    (finding,) = _found(sound_system.check, _context(tmp_path, no_microphone))
    assert finding.status == "ok"
    wanted = _found(sound_system.check, _context(tmp_path, {"sources": [{"address": "mic0"}]}))
    assert wanted[0].status == "failed"
    assert "plug a microphone in" in wanted[0].mend
    cards = " 1 [Mic            ]: USB-Audio - USB Microphone\n                      at usb\n"
    root = _machine(tmp_path / "usb", {"dev/snd/pcmC1D0c": "", "proc/asound/cards": cards})
    (finding,) = _found(sound_system.check, _context(root, no_microphone))
    assert "USB Microphone" in finding.text
    server = _machine(tmp_path / "pulse", {"run/user/7/pulse/native": ""})
    (finding,) = _found(sound_system.check, _context(server, no_microphone, XDG_RUNTIME_DIR="/run/user/7"))
    assert finding == Finding("ok", "PulseAudio at /run/user/7/pulse/native")


def test_disks_where_something_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sinks = [
        {"kind": "jsonl", "path": tmp_path / "heard.jsonl"},
        {"kind": "jsonl", "path": tmp_path / "no/heard.jsonl"},
        {"kind": "mqtt", "url": "mqtt://host", "spool_path": tmp_path / "spool/of/mqtt"},
        {"kind": "syslog", "socket": tmp_path / "sockets/log"},
        {"kind": "journal", "socket": tmp_path / "sockets/journal"},
    ]
    context = _context(tmp_path, {"sinks": sinks}, STATE_DIRECTORY=str(tmp_path))
    places = disk.places(context)
    assert {tmp_path, tmp_path / "no", tmp_path / "spool/of"} <= set(places)
    assert tmp_path / "sockets" not in places, "nothing is written beside a socket"
    found = dict(zip(places, (list(part.run()) for part in disk.check(context)), strict=True))
    assert _statuses(found[tmp_path / "no"]) == ["failed"]
    assert found[tmp_path][0].status in {"ok", "warning"}

    real = os.statvfs(tmp_path)
    for changes, status, word in (
        ({"f_flag": os.ST_RDONLY}, "failed", "read-only"),
        ({"f_bavail": 0}, "failed", "full"),
        ({"f_favail": 0, "f_files": 10}, "failed", "inodes"),
        ({"f_bavail": 50_000_000 // real.f_frsize}, "warning", "MB free"),
    ):
        values = {
            name: getattr(real, name) for name in ("f_bavail", "f_frsize", "f_blocks", "f_flag", "f_files", "f_favail")
        }
        fake = type("Status", (), {**values, "f_files": 10, "f_favail": 5, **changes})
        monkeypatch.setattr(os, "statvfs", lambda _, fake=fake: fake)
        (finding,) = disk.check(context)[0].run()
        assert (finding.status, word in finding.text) == (status, True), finding
        monkeypatch.undo()


def test_the_clock_of_this_machine_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for synchronised, status in ((True, "ok"), (False, "warning"), (None, "warning")):
        monkeypatch.setattr(clock, "is_synchronised", lambda synchronised=synchronised: synchronised)
        (finding,) = _found(clock.check, _context(tmp_path))
        assert (finding.status, "no clock with a battery" in finding.text) == (status, True)
    monkeypatch.undo()
    assert clock.is_synchronised() in {True, False, None}

    class _Past(clock.datetime):
        @classmethod
        def now(cls, tz: object = None) -> clock.datetime:
            return clock.datetime(1970, 1, 1, tzinfo=clock.timezone.utc)

    monkeypatch.setattr(clock, "datetime", _Past)
    (finding,) = _found(clock.check, _context(tmp_path))
    assert finding.status == "failed"


def test_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _found(service.check, _context(tmp_path)) == [Finding("ok", "no systemd runs here")]
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    running = {"Id": "edge-aac.service", "LoadState": "loaded", "ActiveState": "active", "NRestarts": "0"}
    for units, statuses in (
        (None, ["warning"]),
        ([], ["ok"]),
        ([running | {"LoadState": "not-found"}], ["ok"]),
        ([running | {"StatusText": "listening to mic0", "User": "edge-aac", "UnitFileState": "enabled"}], ["ok"]),
        ([running | {"NRestarts": "7", "UnitFileState": "disabled"}], ["ok", "warning", "warning"]),
        ([running | {"ActiveState": "inactive"}], ["warning"]),
        ([running | {"ActiveState": "failed", "Result": "watchdog"}, running], ["failed", "ok"]),
    ):
        monkeypatch.setattr(service, "unit_states", lambda units=units: units)
        assert _statuses(_found(service.check, _context(tmp_path))) == statuses


def test_what_the_running_service_tells(tmp_path: Path) -> None:
    state = {
        **{"node": "n", "version": "1", "pid": 7, "phase": "running", "status": "listening to mic0", "missing": []},
        **{"written_s": 0.0, "monotonic_s": time.monotonic(), "captions": 3, "sources": {}, "sinks": {}, "health": {}},
    }
    file = tmp_path / "run/edge-aac/health.json"
    for changes, status, word in (
        ({}, "ok", "listening to mic0"),
        ({"missing": ["describing has not come to an end for 40 s"]}, "failed", "not come to an end"),
        ({"monotonic_s": time.monotonic() - 1000.0}, "failed", "hangs or has gone"),
    ):
        _machine(tmp_path, {"run/edge-aac/health.json": json.dumps({**state, **changes})})
        found = _found(service.check, _context(tmp_path))[0]
        assert (found.status, word in found.text) == (status, True), found
    file.write_text("{")
    with pytest.raises(DataError):
        _found(service.check, _context(tmp_path))


def test_what_a_second_of_sound_tells() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    cases = {
        "ok": noise,
        "digital silence": 0 * noise,
        "very quiet": 1e-5 * noise,
        "clips": np.clip(50 * noise, -1, 1),
        "no numbers": np.where(noise > 0.2, np.nan, noise).astype(np.float32),
    }
    for word, samples in cases.items():
        (finding,) = findings_of(samples, -70.0)
        assert word in f"{finding.status} {finding.text}", finding
    assert "-20.0 dBFS" in next(iter(findings_of(noise, -70.0))).text
    assert "are not captioned" in next(iter(findings_of(noise, -10.0))).text
