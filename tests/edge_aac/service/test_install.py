"""Installing below another root, and what is refused. What systemd itself does of it is in tests/machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_aac.errors import ConfigError, DeviceError, UsageError
from edge_aac.service import places, systemd
from edge_aac.service.install import install, uninstall
from edge_aac.service.places import PACKAGED_UNIT, Place, own_command, unit_text, with_command
from tests.system.command import run_edge_aac

pytestmark = pytest.mark.one_python

COMMAND = Path("/opt/edge-aac/bin/edge-aac")


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What systemd's programs would have been called with."""
    calls: list[str] = []

    def run(words: list[str]) -> str:
        calls.append(" ".join(words))
        return ""

    monkeypatch.setattr(systemd, "run", run)
    return calls


def _installed(root: Path, *, tensorrt: bool | None = None, instance: str | None = None) -> list[str]:
    return install(Place(root=root, instance=instance), command=COMMAND, start=True, tensorrt=tensorrt)


def _files(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


def test_below_a_root_files_are_written_and_nothing_is_started(tmp_path: Path, called: list[str]) -> None:
    done = _installed(tmp_path)
    assert set(_files(tmp_path)) == {
        "etc/edge-aac/config.toml",
        "etc/sysusers.d/edge-aac.conf",
        "etc/systemd/system/edge-aac.service",
        "etc/systemd/system/edge-aac@.service",
        "etc/tmpfiles.d/edge-aac.conf",
        "etc/udev/rules.d/70-edge-aac.rules",
    }
    assert called == [
        f"systemd-sysusers --root={tmp_path} edge-aac.conf",
        f"systemd-tmpfiles --root={tmp_path} --create edge-aac.conf",
        f"systemctl --root={tmp_path} enable edge-aac.service",
    ]
    assert any("config.toml" in line for line in done)
    unit = _files(tmp_path)["etc/systemd/system/edge-aac.service"]
    assert f"ExecStart={COMMAND} stream --config %E/edge-aac/config.toml\n" in unit
    assert "Documentation=man" not in unit, "pip brings no manual page"


def test_a_second_time_changes_nothing_and_a_changed_configuration_stays(tmp_path: Path, called: list[str]) -> None:
    _installed(tmp_path)
    config = tmp_path / "etc/edge-aac/config.toml"
    config.write_text("[stream]\nhop_s = 5.0\n")
    before = _files(tmp_path)
    done = _installed(tmp_path)
    assert _files(tmp_path) == before
    assert not any(line.startswith("wrote") for line in done)
    unit = tmp_path / "etc/systemd/system/edge-aac.service"
    unit.write_text("[Service]\nExecStart=/old/edge-aac\n")
    _installed(tmp_path)
    assert _files(tmp_path) == before, "an older version's unit is replaced"


def test_uninstalling_keeps_settings_and_purging_leaves_nothing(tmp_path: Path, called: list[str]) -> None:
    _installed(tmp_path, tensorrt=True)
    mine = tmp_path / "etc/systemd/system/edge-aac.service.d/mine.conf"
    mine.write_text("[Service]\nNice=5\n")
    uninstall(Place(root=tmp_path), purge=False)
    assert set(_files(tmp_path)) == {"etc/edge-aac/config.toml", str(mine.relative_to(tmp_path))}
    mine.unlink()
    _installed(tmp_path, tensorrt=True)
    for folder in ("lib/edge-aac/bundles", "lib/edge-aac-garden", "log/edge-aac", "cache/edge-aac"):
        (tmp_path / "var" / folder).mkdir(parents=True)
    done = uninstall(Place(root=tmp_path), purge=True)
    assert _files(tmp_path) == {} and not list(tmp_path.rglob("*edge-aac*"))
    assert len(done) > 8
    assert uninstall(Place(root=tmp_path), purge=True) == []


def test_a_jetson_gets_the_drop_in_of_tensorrt(tmp_path: Path, called: list[str]) -> None:
    _installed(tmp_path)
    assert not list(tmp_path.rglob("tensorrt.conf"))
    (tmp_path / "etc/nv_tegra_release").touch()
    _installed(tmp_path)
    assert len(list(tmp_path.rglob("tensorrt.conf"))) == 2


def test_an_instance_has_its_own_configuration(tmp_path: Path, called: list[str]) -> None:
    _installed(tmp_path, instance="garden")
    assert (tmp_path / "etc/edge-aac/garden.toml").is_file()
    assert called[-1].endswith("enable edge-aac@garden.service")
    uninstall(Place(root=tmp_path, instance="garden"), purge=True)
    assert called[-1].endswith("disable edge-aac@garden.service")
    assert not (tmp_path / "etc/edge-aac/garden.toml").exists()
    assert (tmp_path / "etc/systemd/system/edge-aac@.service").is_file(), "other instances may use it"


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "x" * 65])
def test_names_that_are_no_instances(name: str) -> None:
    with pytest.raises(UsageError, match="names no instance"):
        Place(instance=name)


def test_the_package_of_debian_is_not_overruled(tmp_path: Path, called: list[str]) -> None:
    packaged = tmp_path / PACKAGED_UNIT
    packaged.parent.mkdir(parents=True)
    packaged.touch()
    with pytest.raises(ConfigError, match="Debian package has installed"):
        _installed(tmp_path)
    with pytest.raises(ConfigError, match="remove it with apt"):
        uninstall(Place(root=tmp_path), purge=True)
    assert called == [] and list(_files(tmp_path)) == [str(PACKAGED_UNIT)]


def test_a_machine_without_systemd_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "runs_here", lambda: False)
    with pytest.raises(DeviceError, match="not started by systemd"):
        install(Place(), command=COMMAND, start=False, tensorrt=None)


def test_an_installation_that_the_service_cannot_reach_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    (closed / "bin").mkdir(parents=True)
    monkeypatch.setattr(places.sys, "prefix", str(closed / "bin" / "environment"))
    closed.chmod(0o700)
    # What pytest makes may be closed already, further out.
    folder = next(place for place in reversed([closed, *closed.parents]) if not place.stat().st_mode & 0o001)
    assert places.unreachable_part() == folder
    monkeypatch.setattr(systemd, "runs_here", lambda: True)
    with pytest.raises(ConfigError, match=f"cannot enter '{folder}'.*/opt/edge-aac"):
        install(Place(), command=None, start=False, tensorrt=None)


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("/opt/edge-aac/bin/edge-aac", "/opt/edge-aac/bin/edge-aac"),
        ("/srv/my tools/100%/$x/edge-aac", '"/srv/my tools/100%%/$$x/edge-aac"'),
        ('/srv/a"b/edge-aac', '"/srv/a\\"b/edge-aac"'),
    ],
)
def test_any_path_can_be_the_command(path: str, written: str) -> None:
    text = with_command(unit_text("edge-aac.service"), Path(path))
    assert f"ExecStart={written} stream " in text and "ExecStart=/usr/bin" not in text


@pytest.mark.parametrize("path", ["/srv/a\nb/edge-aac", "relative/edge-aac"])
def test_a_path_that_no_unit_can_hold(path: str) -> None:
    with pytest.raises(ConfigError, match="cannot be started by systemd"):
        with_command(unit_text("edge-aac.service"), Path(path))


def test_the_own_command_is_found_as_another_root_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = tmp_path / "image" / "opt" / "bin"
    scripts.mkdir(parents=True)
    monkeypatch.setattr(places.sysconfig, "get_path", lambda _: str(scripts))
    with pytest.raises(ConfigError, match="no command"):
        own_command()
    (scripts / "edge-aac").touch()
    assert own_command() == scripts / "edge-aac"
    assert own_command(tmp_path / "image") == Path("/opt/bin/edge-aac")
    with pytest.raises(ConfigError, match="does not lie below"):
        own_command(tmp_path / "elsewhere")


def test_a_program_of_systemd_that_fails_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no program systemctl-that-is-not-there"):
        systemd.run(["systemctl-that-is-not-there"])
    with pytest.raises(DeviceError, match="failed: ls: "):
        systemd.run(["ls", str(tmp_path / "missing")])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up being root")
@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_without_root_one_sentence(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_aac.cli import main

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit) as ended:
        main(["service", verb, "--root", str(tmp_path)])
    assert ended.value.code == 2 and not list(tmp_path.iterdir())


def test_the_verb_asks_after_a_service_that_is_not_there(tmp_path: Path) -> None:
    missing = run_edge_aac("service", "health", "--file", tmp_path / "health.json")
    assert missing.returncode == 1 and "there is no state in" in missing.stdout and missing.stderr == ""
    (tmp_path / "health.json").write_text("{}")
    damaged = run_edge_aac("service", "health", env={"EDGE_AAC_STATE_FILE": str(tmp_path / "health.json")})
    assert damaged.returncode == 1 and "holds no state" in damaged.stdout


def _analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        if os.environ.get("EDGE_AAC_REQUIRE_REAL_PARTS") == "1":
            pytest.fail("systemd-analyze is required here, but it is not installed (apt install systemd)")
        pytest.skip("systemd-analyze is not installed (apt install systemd)")
    return subprocess.run([program, *map(str, words)], check=False, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", ["edge-aac.service", "edge-aac@.service"])
def test_the_units_are_in_order_and_little_is_exposed(name: str, tmp_path: Path) -> None:
    unit = tmp_path / name
    unit.write_text(with_command(unit_text(name), Path("/bin/true")))
    verified = _analyze("verify", "--man=no", unit)
    assert (verified.returncode, verified.stderr) == (0, "")
    exposure = _analyze("security", "--offline=true", "--threshold=20", "--no-pager", unit)
    assert exposure.returncode == 0, exposure.stdout  # 20 is 2.0


def test_an_instance_differs_by_its_name_alone() -> None:
    def lines(name: str) -> list[str]:
        return [line for line in unit_text(name).splitlines() if not line.startswith("#")]

    changed = {
        "Description=Audio captions on the device": "Description=Audio captions on the device (%i)",
        "StateDirectory=edge-aac": "StateDirectory=edge-aac-%i",
        "RuntimeDirectory=edge-aac": "RuntimeDirectory=edge-aac-%i",
        "WorkingDirectory=%S/edge-aac": "WorkingDirectory=%S/edge-aac-%i",
    }
    expected = [
        changed.get(line, line).replace("/config.toml", "/%i.toml").replace("HOME=%S/edge-aac ", "HOME=%S/edge-aac-%i ")
        for line in lines("edge-aac.service")
    ]
    assert lines("edge-aac@.service") == expected
