"""The keys that devices and the host share: read from a file or a variable, never from an address or a flag."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import stat
import threading
from dataclasses import dataclass, field
from pathlib import Path

from edge_aac.errors import ConfigError, InputMissingError, UsageError
from firmware_bridge.device_ids import id_of, id_text
from firmware_bridge.packets import KEY_BYTES

ANY_DEVICE = "*"
_LINE = re.compile(r"(\S+)[ \t]+([0-9A-Fa-f]{64})")
_MAX_BYTES = 1_000_000
_FORM = "a line for each device, DEVICE_ID KEY, the key as 64 hexadecimal digits (`edge-aac bridge keygen` writes it)"

log = logging.getLogger(__name__)


def default_key_file() -> Path:
    """Where keys are where nothing else is said: beside the configuration, of the machine or of the user."""
    system = Path("/etc/edge-aac/credentials/bridge-keys")
    if system.exists() or os.geteuid() == 0:
        return system
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path("~/.config").expanduser()) / "edge-aac" / "bridge-keys"


@dataclass(frozen=True)
class Keys:
    """Keys by device id.

    Attributes:
        by_device: the devices' own keys.
        shared: key of all other devices; None where they are refused.
    """

    by_device: dict[int, bytes] = field(default_factory=dict, repr=False)
    shared: bytes | None = field(default=None, repr=False)

    def of(self, device: int) -> bytes | None:
        """The key of a device; None where it has none."""
        return self.by_device.get(device, self.shared)

    @classmethod
    def parse(cls, text: str, where: str, *, may_be_empty: bool = False) -> Keys:
        """Reads lines ``DEVICE_ID KEY`` or ``* KEY``; those that are empty or begin with # are passed over.

        Args:
            text: the lines.
            where: what holds them, for messages; no message shows a key.
            may_be_empty: whether there need not be a key: nobody is heard then.

        Raises:
            ConfigError: a line is something else, or names a device that another one names.
        """
        by_device: dict[int, bytes] = {}
        shared = None
        for number, written in enumerate(text.splitlines(), 1):
            line = written.strip()
            if not line or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line)
            device = None if match is None or match[1] == ANY_DEVICE else id_of(match[1])
            if match is None or (match[1] != ANY_DEVICE and device is None):
                raise ConfigError(f"line {number} of {where} holds no key: write {_FORM}")
            key = bytes.fromhex(match[2])
            if (device is None and shared is not None) or device in by_device:
                raise ConfigError(f"line {number} of {where} names a device again: keep one of its keys")
            if device is None:
                shared = key
            else:
                by_device[device] = key
        if not by_device and shared is None and not may_be_empty:
            raise ConfigError(f"{where} holds no key: write {_FORM}")
        return cls(by_device, shared)


class Keyring:
    """The keys of a place, read anew when its file changes, so that a device can be added while the stream runs.

    Args:
        place: ``file:PATH`` or ``env:NAME``.

    Raises:
        InputMissingError: the file cannot be read, or the variable is not set.
        ConfigError: it holds something else than keys.
    """

    def __init__(self, place: str) -> None:
        self._kind, _, self._name = place.partition(":")
        self._lock = threading.Lock()
        self._stamp = self._stamp_now()
        self._keys = self._read()
        self._fault_told: str | None = None
        self._warn_if_open()

    def of(self, device: int) -> bytes | None:
        """The key of a device; None where it has none."""
        return self._keys.of(device)

    def look(self) -> None:
        """Read the file again where it was changed; one that cannot be used leaves the keys as they are.

        One without any key is taken at the second look: an editor leaves an empty file for a moment, and whoever takes
        the last line away shuts the last device out.
        """
        if self._kind != "file" or (stamp := self._stamp_now()) == self._stamp:
            return
        with self._lock:
            try:
                self._keys, self._stamp = self._read(may_be_empty=self._fault_told is not None), stamp
                self._fault_told = None
                log.info("the keys in '%s' were read anew", self._name)
            except (ConfigError, InputMissingError) as error:
                if str(error) != self._fault_told:
                    self._fault_told = str(error)
                    log.warning("the keys go on as they were: %s", error)

    def _read(self, *, may_be_empty: bool = False) -> Keys:
        if self._kind == "env":
            text = os.environ.get(self._name)
            if text is None:
                raise InputMissingError(f"the keys of the devices are not there: set the variable {self._name}")
            return Keys.parse(text, f"the variable {self._name}")
        try:
            with open(self._name, "rb") as file:
                text = file.read(_MAX_BYTES).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError(f"'{self._name}' is no text: write {_FORM}") from error
        except OSError as error:
            raise InputMissingError(
                f"the keys of the devices cannot be read from '{self._name}' ({error.strerror}): make them with "
                "`edge-aac bridge keygen`, or name another place by keys=file:PATH"
            ) from error
        return Keys.parse(text, f"'{self._name}'", may_be_empty=may_be_empty)

    def _stamp_now(self) -> tuple[int, int, int] | None:
        if self._kind != "file":
            return None
        try:
            status = os.stat(self._name)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _warn_if_open(self) -> None:
        if self._kind == "file" and os.stat(self._name).st_mode & (stat.S_IROTH | stat.S_IWOTH):
            log.warning("every user of this machine may read the keys in '%s': `chmod o= '%s'`", self._name, self._name)


def checked_place(text: str) -> str:
    """``file:PATH`` or ``env:NAME`` as it is.

    Raises:
        UsageError: it is neither; the text is not shown, for it may be the key itself.
    """
    kind, _, name = text.partition(":")
    if kind == "file" and name and "\0" not in name:
        return f"file:{Path(name).expanduser()}"
    if kind == "env" and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        return text
    raise UsageError("keys has an unusable value: write keys=file:PATH or keys=env:NAME.")


def new_key() -> bytes:
    """A key from the system's generator."""
    return secrets.token_bytes(KEY_BYTES)


def add_key(path: Path, device: int | None, key: bytes) -> None:
    """Appends a device's key to a file, which is made where it is not there, readable for its owner and group alone.

    Args:
        path: the file.
        device: its id; None for the key of all devices that have none of their own.
        key: its key.

    Raises:
        ConfigError: the device has a key there already.
        InputMissingError: the file cannot be read or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        with open(descriptor, "rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # of two at once, the second one reads what the first one wrote
            file.seek(0)
            text = file.read(_MAX_BYTES).decode("utf-8-sig")
            known = Keys.parse(text, f"'{path}'", may_be_empty=True)
            if device in known.by_device or (device is None and known.shared is not None):
                raise ConfigError(f"'{path}' has a key of that device: take its line out to give it another one")
            end = "" if not text or text.endswith("\n") else "\n"
            line = f"{end}{ANY_DEVICE if device is None else id_text(device)} {key.hex()}\n"
            file.write(line.encode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"'{path}' is no text: write {_FORM}") from error
    except OSError as error:
        raise InputMissingError(f"'{path}' cannot be written ({error.strerror}): name another file") from error
