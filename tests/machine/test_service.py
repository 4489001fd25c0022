"""The Debian package and its service on a whole machine.

``script/test-service`` makes the machine's files and the packages.

The tests tell one story on one machine, in this order: each begins where the one before ended.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from edge_aac.audio.sources.demo import play_programme
from tests.machine.machine import Machine, running_machine

FOLDER = os.environ.get("EDGE_AAC_MACHINE", "")
FAULTS = Path(__file__).with_name("faults.py")
PROBE = Path(__file__).with_name("probe.py")
HEARD = "/var/log/edge-aac/heard.jsonl"
CONFIG = "/etc/edge-aac/config.toml"
DROP_IN = "/etc/systemd/system/edge-aac.service.d/test.conf"

pytestmark = [
    pytest.mark.skipif(not FOLDER, reason="script/test-service runs this, on a machine that it makes"),
    pytest.mark.one_python,
]


def configuration(address: str, path: str = HEARD, node: str = "barn") -> str:
    return f"""[stream]
node = "{node}"
[[sources]]
name = "yard"
address = "{address}"
[[sinks]]
kind = "stdout"
[[sinks]]
kind = "jsonl"
path = "{path}"
[health]
interval_s = 2.0
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the parts that the package asks for, a sound to hear, and a package of faults."""
    folder = tmp_path_factory.mktemp("machine")
    with running_machine(Path(FOLDER, "base"), folder / "console.log") as running:
        sound = running.path("/srv/scene.wav")
        # Of sounds that change: what goes on is captioned once.
        soundfile.write(sound, play_programme(120.0), 16_000)
        packages = running.path("/usr/local/lib/python3.11/dist-packages")
        packages.mkdir(parents=True, exist_ok=True)
        shutil.copy(FAULTS, packages / "edge_aac_faults.py")
        metadata = packages / "edge_aac_faults-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: edge-aac-faults\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text("[edge_aac.sources]\npaced = edge_aac_faults:open_paced\n")
        (deb,) = Path(FOLDER, "amd64").glob("*.deb")
        shutil.copy(deb, running.path("/root/edge-aac.deb"))
        running.run("mkdir", "-p", "/run/faults")
        yield running


@pytest.fixture(scope="module")
def before(machine: Machine) -> set[str]:
    """The machine's files before anything was installed."""
    return machine.files()


def new_captions(machine: Machine, path: str = HEARD) -> None:
    """Wait for captions beyond those that are there."""
    count = len(machine.captions(path))
    machine.wait_for("a new caption", lambda: len(machine.captions(path)) > count)


def test_the_package_installs_and_starts_the_service(machine: Machine, before: set[str]) -> None:
    assert not any("edge-aac" in path for path in before)
    machine.write(CONFIG, configuration("paced:/srv/scene.wav?fault=yard"))
    machine.run("dpkg", "--force-confold", "--install", "/root/edge-aac.deb")
    assert machine.property("ActiveState") == "active"
    assert machine.property("UnitFileState") == "enabled"
    groups = set(machine.output("id", "-nG", "edge-aac").split())
    assert groups == {"edge-aac", "audio", "video", "render", "dialout"}
    assert machine.output("stat", "-c", "%U:%G %a", "/etc/edge-aac/credentials").split() == ["root:edge-aac", "750"]
    assert "edge-aac stream" in machine.output("man", "edge-aac")
    completed = "COMP_WORDS=(edge-aac stream --dev); COMP_CWORD=2; _edge_aac; echo ${COMPREPLY[@]}"
    source = ". /usr/share/bash-completion/completions/edge-aac"
    assert machine.output("bash", "-c", f"{source}; {completed}") == "--device\n"


def test_captions_go_to_the_journal_and_to_a_file(machine: Machine) -> None:
    new_captions(machine)
    machine.wait_for("a caption in the journal", lambda: '"schema":"edge-aac/caption/1"' in machine.log())
    caption = machine.captions(HEARD)[0]
    assert (caption["node"], caption["source"]) == ("barn", "yard")
    assert re.search(r"\bbirds?\b|\bmusic\b|\bdrum", caption["caption"]), caption["caption"]


def test_the_status_is_told(machine: Machine) -> None:
    machine.wait_for("the count in the status", lambda: ", last " in machine.property("StatusText"))
    assert machine.property("StatusText").startswith("listening to yard")
    assert 'Status: "listening to yard' in machine.output("systemctl", "status", "--no-pager", "--full", "edge-aac")
    shown = machine.run("edge-aac", "service", "status")
    assert shown.returncode == 0
    assert f"process: {machine.pid()}" in shown.stdout and "restarts: 0" in shown.stdout
    # Asking takes no rights.
    asked = machine.run("runuser", "-u", "nobody", "--", "edge-aac", "service", "health")
    assert asked.stdout.startswith("listening to yard")
    assert "caption/1" in machine.output("edge-aac", "service", "logs", "--output", "cat", "-n", "200")


def test_the_sandbox_holds_and_leaves_what_is_needed(machine: Machine) -> None:
    for name, group, mode in (
        ("sound", "audio", "660"),
        ("serial", "dialout", "660"),
        ("gpu", "video", "660"),
        ("other", "disk", "660"),
    ):
        machine.run("mknod", "-m", mode, f"/dev/probe-{name}", "c", "1", "3")
        machine.run("chgrp", group, f"/dev/probe-{name}")
    machine.write("/srv/probe.py", PROBE.read_text(encoding="utf-8"))
    machine.write(DROP_IN, "[Service]\nExecStartPre=/usr/lib/edge-aac/bin/python3 /srv/probe.py\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "edge-aac")
    found = json.loads(machine.path("/var/lib/edge-aac/probe.json").read_text())
    writable = {what.split()[1] for what, answer in found.items() if what.startswith("writes ") and answer == "yes"}
    assert writable == {"/tmp", "/var/lib/edge-aac", "/var/log/edge-aac", "/run/edge-aac"}
    assert [found[f"opens {name}"] for name in ("sound", "serial", "gpu", "other")] == ["yes"] * 3 + ["PermissionError"]
    assert not machine.path("/tmp/probe").exists(), "/tmp is the service's own"
    assert found["executes what it wrote"] == "PermissionError"
    assert found["sees homes"] == "PermissionError"
    assert found["has raw sockets"] != "yes" and found["has the network"] == found["reads cards"] == "yes"
    status = machine.output("cat", f"/proc/{machine.pid()}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    assert {int(fields[name], 16) for name in ("CapBnd", "CapEff", "CapPrm", "CapAmb")} == {0}
    new_captions(machine)  # it does its work in there
    machine.run("rm", DROP_IN)
    machine.run("systemctl", "daemon-reload")


def test_the_exposure_is_small_and_the_units_are_in_order(machine: Machine) -> None:
    words = machine.output("systemd-analyze", "security", "--no-pager", "edge-aac.service").split()
    exposure = float(words[words.index("edge-aac.service:") + 1])
    assert exposure <= 2.0
    for unit in ("edge-aac.service", "edge-aac@yard.service"):
        verified = machine.run("systemd-analyze", "verify", unit)
        assert (verified.stdout, verified.stderr) == ("", "")
    verified = machine.run(
        "systemd-analyze", "verify", "--user", "/usr/lib/systemd/user/edge-aac.service", env=["XDG_RUNTIME_DIR=/run"]
    )
    assert (verified.stdout, verified.stderr) == ("", "")


def test_what_hangs_is_ended_by_the_watchdog_and_goes_on(machine: Machine) -> None:
    """Two instances at once: one whose capture hangs, one whose model does."""
    units = {"capture": "edge-aac@capture", "inference": "edge-aac@inference"}
    paths = {fault: f"/var/log/edge-aac/{fault}.jsonl" for fault in units}
    for fault, unit in units.items():
        machine.write(f"/etc/edge-aac/{fault}.toml", configuration(f"paced:/srv/scene.wav?fault={fault}", paths[fault]))
        machine.write(
            f"/etc/systemd/system/{unit}.service.d/test.conf", "[Service]\nWatchdogSec=20s\nRestartSec=500ms\n"
        )
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", *units.values())
    for path in paths.values():
        new_captions(machine, path)
    pids = {fault: machine.pid(unit) for fault, unit in units.items()}
    assert machine.run("edge-aac", "service", "status", "capture").returncode == 0
    for fault in units:
        machine.run("touch", f"/run/faults/{fault}.{fault}")
    for fault, unit in units.items():
        machine.wait_for(
            f"{fault}: the watchdog", lambda unit=unit: "Failed with result 'watchdog'" in machine.log(unit), [unit]
        )
        machine.run("rm", f"/run/faults/{fault}.{fault}")
    for fault, unit in units.items():
        machine.wait_for("the restart", lambda unit=unit: machine.property("ActiveState", unit) == "active", [unit])
        new_captions(machine, paths[fault])
        assert machine.property("NRestarts", unit) == "1"
        assert machine.pid(unit) != pids[fault]
        assert "Thread 0x" in machine.log(unit), "the stacks of what hung are in the log"
    machine.run("systemctl", "stop", *units.values())
    assert machine.run("edge-aac", "service", "status", "capture", check=False).returncode == 3


def test_ten_kills_are_ten_restarts_and_nothing_is_torn(machine: Machine) -> None:
    machine.write(DROP_IN, "[Service]\nRestartSec=200ms\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "edge-aac")
    already = int(machine.property("NRestarts"))
    for count in range(1, 11):
        pid = machine.pid()
        machine.run("kill", "-9", str(pid))
        machine.wait_for(
            f"restart {count}",
            lambda pid=pid: machine.property("ActiveState") == "active" and machine.pid() not in {0, pid},
        )
    assert int(machine.property("NRestarts")) == already + 10
    new_captions(machine)  # every line of the file is whole
    machine.run("rm", DROP_IN)
    machine.run("systemctl", "daemon-reload")


def test_a_bad_configuration_is_refused_and_the_old_one_goes_on(machine: Machine) -> None:
    pid = machine.pid()
    machine.write(
        CONFIG, configuration("paced:/srv/scene.wav?fault=yard").replace("interval_s = 2.0", "interval_s = -1")
    )
    machine.run("systemctl", "reload", "edge-aac")
    machine.wait_for("a word in the status", lambda: "interval_s" in machine.property("StatusText"))
    assert machine.pid() == pid
    new_captions(machine)
    # A good one is taken.
    machine.write(CONFIG, configuration("paced:/srv/scene.wav?fault=yard", "/var/log/edge-aac/other.jsonl"))
    machine.run("systemctl", "reload", "edge-aac")
    new_captions(machine, "/var/log/edge-aac/other.jsonl")
    assert machine.pid() == pid and "interval_s" not in machine.property("StatusText")


def test_a_restart_with_a_bad_configuration_fails_once_and_does_not_spin(machine: Machine) -> None:
    machine.write(CONFIG, "[stream]\nhop_s = -1\n")
    assert machine.run("systemctl", "restart", "edge-aac", check=False).returncode != 0
    assert machine.property("ActiveState") == "failed"
    assert machine.property("ExecMainStatus") == "78"
    assert machine.run("edge-aac", "service", "status", check=False).returncode == 3
    machine.write(CONFIG, configuration("paced:/srv/scene.wav?fault=yard"))
    machine.run("systemctl", "restart", "edge-aac")


def test_a_microphone_of_a_sound_server_is_heard_in_the_sandbox(machine: Machine) -> None:
    """A sound server of the machine, through ALSA's plug-in, that comes later than the service."""
    machine.write(
        "/etc/asound.conf", "pcm.!default { type pulse }\nctl.!default { type pulse }\npcm.pulse { type pulse }\n"
    )
    machine.write(CONFIG, configuration("alsa:pulse", "/var/log/edge-aac/microphone.jsonl"))
    machine.run("systemctl", "restart", "edge-aac")
    machine.wait_for("a word of waiting", lambda: "yard waits for its device" in machine.property("StatusText"))
    server = ["pulseaudio", "--system", "--disallow-exit", "--exit-idle-time=-1", "-n", "--daemonize=no"]
    modules = ["native-protocol-unix auth-anonymous=1", "null-sink sink_name=test rate=48000"]
    loads = [f"--load=module-{module}" for module in modules]
    machine.run("systemd-run", "--quiet", "--unit=pulse", *server, *loads)
    machine.wait_for(
        "the sound server",
        lambda: machine.run("pactl", "--server=/run/pulse/native", "info", check=False).returncode == 0,
        ["pulse"],
    )
    pactl = ["pactl", "--server=/run/pulse/native"]
    machine.run(*pactl, "set-default-source", "test.monitor")
    machine.run("systemd-run", "--quiet", "--unit=player", "paplay", "--server=/run/pulse/native", "/srv/scene.wav")
    new_captions(machine, "/var/log/edge-aac/microphone.jsonl")
    machine.run("systemctl", "stop", "player", "pulse")
    machine.write(CONFIG, configuration("paced:/srv/scene.wav?fault=yard"))
    machine.run("systemctl", "restart", "edge-aac")


def test_a_stop_is_in_good_order(machine: Machine) -> None:
    new_captions(machine)
    began_s = time.monotonic()
    machine.run("systemctl", "stop", "edge-aac")
    print(f"the stop took {time.monotonic() - began_s:.2f} s")
    # One that took longer than TimeoutStopSec= would have been killed.
    assert machine.property("Result") == "success"
    assert machine.property("ExecMainStatus") == "0"
    machine.captions(HEARD)
    assert machine.run("test", "-e", "/run/edge-aac", check=False).returncode != 0


def test_a_purge_leaves_nothing(machine: Machine, before: set[str]) -> None:
    # The same environment as pip makes one, for the next test: what is installed there is no part of the package.
    machine.run("cp", "-a", "/usr/lib/edge-aac", "/opt/edge-aac")
    machine.run("sed", "-i", "s#/usr/lib/edge-aac#/opt/edge-aac#", "/opt/edge-aac/bin/edge-aac")
    machine.run("systemctl", "start", "edge-aac", "edge-aac@capture")
    machine.run("dpkg", "--remove", "edge-aac")
    assert machine.path(CONFIG).exists(), "a removal keeps the configuration"
    assert machine.output("systemctl", "list-units", "--no-legend", "edge-aac*") == ""
    machine.run("dpkg", "--purge", "edge-aac")
    machine.run(
        "rm", "-r", "/etc/systemd/system/edge-aac@capture.service.d", "/etc/systemd/system/edge-aac@inference.service.d"
    )
    _nothing_is_left(machine, before)


def test_the_service_of_pip_installs_runs_and_leaves_nothing(machine: Machine, before: set[str]) -> None:
    command = "/opt/edge-aac/bin/edge-aac"
    machine.write(CONFIG, configuration("paced:/srv/scene.wav?fault=yard"))
    first = machine.output(command, "service", "install")
    assert f"kept '{CONFIG}'" in first
    assert machine.property("ActiveState") == "active"
    again = machine.output(command, "service", "install", "--no-start")
    assert "wrote" not in again, "a second time changes nothing"
    new_captions(machine)
    assert machine.run(command, "service", "status").returncode == 0
    machine.output(command, "service", "uninstall")
    assert machine.path(CONFIG).exists() and machine.property("LoadState") == "not-found"
    machine.output(command, "service", "install", "--no-start")
    assert machine.property("ActiveState") == "inactive"
    machine.output(command, "service", "uninstall", "--purge")
    machine.run("rm", "-r", "/opt/edge-aac")
    _nothing_is_left(machine, before)


def _nothing_is_left(machine: Machine, before: set[str]) -> None:
    left = {path for path in machine.files() - before if not path.endswith(".pyc") and "__pycache__" not in path}
    known = {"etc/asound.conf", "srv/probe.py", "opt/edge-aac"}
    volatile = (
        "var/lib/dpkg/",
        "var/log/",
        "etc/passwd-",
        "etc/group-",
        "etc/shadow-",
        "etc/gshadow-",
        "opt/edge-aac/",
        "var/lib/pulse",
    )
    assert {path for path in left - known if not path.startswith(volatile)} == set()
    assert not any("edge-aac" in path for path in left if path.startswith("var/log/"))
    for line in machine.path("/etc/passwd").read_text().splitlines():
        assert not line.startswith("edge-aac:")
    units = machine.run("systemctl", "list-unit-files", "--no-legend", "edge-aac*", check=False)
    assert units.stdout == ""
