"""Where a service of systemd and its files are, for the machine or for one user."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from edge_aac.errors import ConfigError, UsageError
from edge_aac.service.state_file import FILE_NAME
from edge_aac.settings.layers import config_home

PACKAGED_UNIT = Path("usr/lib/systemd/system/edge-aac.service")
_COMMAND = "/usr/bin/edge-aac"  # in the unit files, and where the Debian package has it
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def unit_text(file: str) -> str:
    """Text of one of the files in ``edge_aac/service/units``."""
    return resources.files("edge_aac.service").joinpath("units", file).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Place:
    """A service's files.

    Attributes:
        user: whether it is a service of this user's session, not of the machine.
        instance: name of the instance ``edge-aac@NAME``; None for the one service ``edge-aac``.
        root: folder that stands for ``/``: of another machine's files, or of a test.
    """

    user: bool = False
    instance: str | None = None
    root: Path = field(default=Path("/"))

    def __post_init__(self) -> None:
        if self.instance is not None and not _NAME.fullmatch(self.instance):
            raise UsageError(f"{self.instance!r} names no instance: use letters, digits, '_', '-' and '.'")
        if self.instance is not None and self.user:
            raise UsageError("a user's session has one service: instances belong to the machine")

    @property
    def unit(self) -> str:
        """Name of the unit."""
        return "edge-aac.service" if self.instance is None else f"edge-aac@{self.instance}.service"

    @property
    def units_folder(self) -> Path:
        """Folder of the units that an administrator, or the user, installs."""
        return config_home() / "systemd/user" if self.user else self.root / "etc/systemd/system"

    @property
    def config_file(self) -> Path:
        """Configuration that the service reads."""
        folder = config_home() / "edge-aac" if self.user else self.root / "etc/edge-aac"
        return folder / f"{self.instance or 'config'}.toml"

    @property
    def state_file(self) -> Path:
        """File in which the running service tells how it does."""
        if self.user:
            return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}") / "edge-aac" / FILE_NAME
        folder = "edge-aac" if self.instance is None else f"edge-aac-{self.instance}"
        return self.root / "run" / folder / FILE_NAME

    @property
    def installed(self) -> dict[Path, str]:
        """Files that ``edge-aac service install`` writes → their text, with the Debian package's command."""
        if self.user:
            return {self.units_folder / "edge-aac.service": unit_text("edge-aac-user.service")}
        etc = self.root / "etc"
        return {
            self.units_folder / "edge-aac.service": unit_text("edge-aac.service"),
            self.units_folder / "edge-aac@.service": unit_text("edge-aac@.service"),
            etc / "sysusers.d/edge-aac.conf": unit_text("sysusers.conf"),
            etc / "tmpfiles.d/edge-aac.conf": unit_text("tmpfiles.conf"),
            etc / "udev/rules.d/70-edge-aac.rules": unit_text("udev.rules"),
        }

    @property
    def tensorrt_drop_ins(self) -> list[Path]:
        """The drop-ins that leave CUDA and TensorRT what they need."""
        names = ["edge-aac.service"] if self.user else ["edge-aac.service", "edge-aac@.service"]
        return [self.units_folder / f"{name}.d/tensorrt.conf" for name in names]

    @property
    def state_folders(self) -> list[Path]:
        """Folders of what the service keeps: state, caches and logs of all instances."""
        if self.user:
            return []
        var = self.root / "var"
        return [
            *(var / "cache/edge-aac", var / "lib/edge-aac", var / "log/edge-aac"),
            *sorted(var.glob("lib/edge-aac-*")),
            *sorted(var.glob("log/edge-aac-*")),
        ]


def own_command(root: Path = Path("/")) -> Path:
    """The command that started this Python, as the machine below ``root`` sees it.

    Raises:
        ConfigError: there is none: edge-aac is not installed, or not below ``root``.
    """
    command = Path(sysconfig.get_path("scripts")) / "edge-aac"
    if not command.is_file():
        raise ConfigError(f"there is no command '{command}' that a service could start: install edge-aac with pip")
    if root == Path("/"):
        return command
    try:
        return Path("/") / command.resolve().relative_to(root.resolve())
    except ValueError as error:
        raise ConfigError(
            f"'{command}' does not lie below '{root}': name the command as that machine has it"
        ) from error


def with_command(text: str, command: Path) -> str:
    """A unit's text, or another's, with the command that is installed here.

    Raises:
        ConfigError: the path cannot stand in a unit.
    """
    path = str(command)
    if not path.isprintable() or not command.is_absolute():
        raise ConfigError(f"{path!r} cannot be started by systemd: install edge-aac into a folder with a plain name")
    quoted = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    if re.search(r"[\s'\"\\;]", path):
        quoted = f'"{quoted}"'
    # The manual page comes with the Debian package alone.
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith("Documentation=man:")]
    return "".join(kept).replace(f"ExecStart={_COMMAND} ", f"ExecStart={quoted} ")


def unreachable_part() -> Path | None:
    """Folder of this installation that the service's user may not enter, or that its sandbox hides; None if none."""
    import edge_aac

    hidden = [Path("/home"), Path("/root"), Path("/run/user")]
    for place in (Path(sys.prefix), Path(sys.executable).resolve(), Path(edge_aac.__file__).resolve()):
        for folder in reversed(place.parents):
            if folder in hidden or not folder.stat().st_mode & 0o001:
                return folder
    return None
