"""Installs and removes the service of an edge-aac that pip installed.

The Debian package brings the same units, and its own scripts install them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from edge_aac.errors import ConfigError, DeviceError
from edge_aac.service import systemd
from edge_aac.service.places import PACKAGED_UNIT, Place, own_command, unit_text, unreachable_part, with_command

JETSON_MARK = Path("etc/nv_tegra_release")
USER_NAME = "edge-aac"


def install(place: Place, *, command: Path | None, start: bool, tensorrt: bool | None) -> list[str]:
    """Write the units and what they need, enable the service, and start it. A second time changes nothing.

    A configuration that is there is kept. Below another root nothing is started, and only its files are changed.

    Args:
        place: which service, and where.
        command: path of ``edge-aac`` that the service starts; None for this one.
        start: whether to start it now, or start it anew where it runs.
        tensorrt: whether to leave CUDA and TensorRT what they need; None: on a Jetson.

    Returns:
        What was done, one sentence each.

    Raises:
        ConfigError: the service's user cannot reach the command, or the Debian package has installed the service.
        DeviceError: systemd is not there, refuses, or the service does not start.
    """
    here = place.root == Path("/")
    if here and not systemd.runs_here():
        raise DeviceError("this machine was not started by systemd: there is nothing that could run the service")
    if not place.user and (packaged := place.root / PACKAGED_UNIT).exists():
        raise ConfigError(f"the Debian package has installed the service ('{packaged}'): enable it with systemctl")
    if command is None:
        if here and not place.user and (folder := unreachable_part()) is not None:
            raise ConfigError(
                f"the service's user cannot enter '{folder}', where this edge-aac is installed: install it into a "
                "virtual environment that everybody may read, such as /opt/edge-aac, with a Python of the system"
            )
        command = own_command(place.root)
    done = [f"wrote '{path}'" for path, text in place.installed.items() if _write(path, with_command(text, command))]
    done += _tensorrt(place, (place.root / JETSON_MARK).exists() if tensorrt is None else tensorrt)
    done += _accounts(place)
    done += _configuration(place)
    if here:
        systemd.systemctl("daemon-reload", user=place.user)
        systemd.systemctl("enable", place.unit, user=place.user)
        done.append(f"{place.unit} starts with {'the session' if place.user else 'the machine'}")
        if start:
            # By a restart, a service that runs takes over what has changed.
            systemd.systemctl("restart", place.unit, user=place.user)
            done.append(f"{place.unit} runs")
    elif place.user:
        done.append("a user's service is not enabled below another root")
    else:
        systemd.run(["systemctl", f"--root={place.root}", "enable", place.unit])
        done.append(f"{place.unit} starts with the machine of '{place.root}'")
    return done


def uninstall(place: Place, *, purge: bool) -> list[str]:
    """Stop the service, its instances too, and remove what :func:`install` wrote.

    Args:
        place: which service, and where; of an instance only the instance is removed.
        purge: whether settings, bundles, captions, caches and the service's user go, too.

    Returns:
        What was done, one sentence each.

    Raises:
        ConfigError: the Debian package has installed the service.
        DeviceError: systemd refuses.
    """
    here = place.root == Path("/")
    if not place.user and place.instance is None and (packaged := place.root / PACKAGED_UNIT).exists():
        raise ConfigError(f"the Debian package has installed the service ('{packaged}'): remove it with apt")
    done = _disable(place, here)
    if place.instance is not None:
        return done + (_removed([place.config_file]) if purge else [])
    drop_ins = place.tensorrt_drop_ins
    done += _removed([*place.installed, *drop_ins])
    emptied = {path.parent for path in drop_ins} | ({place.config_file.parent} if place.user else set())
    if purge:
        done += _removed([place.config_file] if place.user else [place.root / "etc/edge-aac", *place.state_folders])
    if not place.user:
        emptied.add(place.root / "etc/sysusers.d")  # not there on a new machine
    for folder in emptied:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    if here and systemd.runs_here():
        systemd.systemctl("daemon-reload", user=place.user)
    if purge and here and not place.user and _has_user():
        systemd.run(["userdel", USER_NAME])
        done.append(f"removed the user {USER_NAME}")
    return done


def _disable(place: Place, here: bool) -> list[str]:
    """Stop and disable the service and, with it, its instances."""
    units = [place.unit]
    if place.instance is None and not place.user:
        wanted = place.units_folder / "multi-user.target.wants"
        units += sorted(path.name for path in wanted.glob("edge-aac@*.service"))
        if here and systemd.runs_here():
            listed = systemd.systemctl("list-units", "--all", "--plain", "--no-legend", "edge-aac@*.service")
            units += [line.split()[0] for line in listed.splitlines() if line.strip()]
    done = []
    for unit in dict.fromkeys(units):
        if not here:
            if not place.user:
                systemd.run(["systemctl", f"--root={place.root}", "disable", unit])
        elif systemd.runs_here() and systemd.status_of(unit, place.user).load != "not-found":
            systemd.systemctl("disable", "--now", unit, user=place.user)
            if systemd.status_of(unit, place.user).active == "failed":
                systemd.systemctl("reset-failed", unit, user=place.user)
            done.append(f"{unit} is stopped")
    return done


def _tensorrt(place: Place, wanted: bool) -> list[str]:
    text = unit_text("tensorrt.conf")
    if not wanted:
        return []
    return [f"wrote '{path}'" for path in place.tensorrt_drop_ins if _write(path, text)]


def _accounts(place: Place) -> list[str]:
    """The service's user and its folders."""
    if place.user:
        return []
    root = [] if place.root == Path("/") else [f"--root={place.root}"]
    there = place.root == Path("/") and _has_user()
    systemd.run(["systemd-sysusers", *root, "edge-aac.conf"])
    systemd.run(["systemd-tmpfiles", *root, "--create", "edge-aac.conf"])
    return [] if there else [f"the service has a user of its own, {USER_NAME}"]


def _has_user() -> bool:
    import pwd

    try:
        pwd.getpwnam(USER_NAME)
    except KeyError:
        return False
    return True


def _configuration(place: Place) -> list[str]:
    if place.config_file.exists():
        return [f"kept '{place.config_file}'"]
    from edge_aac.settings.example import example
    from edge_aac.settings.sections import registered_sections

    _write(place.config_file, example(registered_sections()))
    return [f"wrote '{place.config_file}': every setting, commented"]


def _write(path: Path, text: str) -> bool:
    """Write a file, whole or not at all; False where it holds the text already.

    Raises:
        DeviceError: it cannot be written.
    """
    try:
        if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_text(text, encoding="utf-8")
        partial.chmod(0o644)
        partial.replace(path)
    except OSError as error:
        raise DeviceError(f"'{path}' cannot be written ({error.strerror})") from error
    return True


def _removed(paths: Iterable[Path]) -> list[str]:
    """Remove files and folders, as far as they are there.

    Raises:
        DeviceError: one cannot be removed.
    """
    done = []
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.exists() or path.is_symlink():
                path.unlink()
            else:
                continue
        except OSError as error:
            raise DeviceError(f"'{path}' cannot be removed ({error.strerror})") from error
        done.append(f"removed '{path}'")
    return done
