"""What a support dump holds, and how it is packed: no secrets, no sound, nothing of what was heard."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import distributions
from pathlib import Path

from edge_aac.doctor.contract import Context
from edge_aac.doctor.running import run_checks
from edge_aac.doctor.secrets import Scrubber
from edge_aac.doctor.service import UNITS, state_files, unit_states
from edge_aac.errors import DeviceError, EdgeAacError, InputMissingError, UsageError
from edge_aac.settings.show import show

MODE = 0o600
LOG_LINES = 2_000
LONGEST_FILE = 2_000_000
"""Characters of one file in the archive."""

_COMMAND_S = 30
_HEARD_SCHEMA = re.compile(r'"schema"\s*:\s*"([^"/]+)/([^"]+)/[^"/]*"')
_HEARD_LINE = re.compile(
    r"(?:\d\d:\d\d:\d\d-\d\d:\d\d:\d\d UTC  |[^\n]*?  +\d+\.\d s - *\d+\.\d s  )"  # see Record.line
)
_PROGRAM_LINE = re.compile(r"(?:edge-aac: )?(?:\d+ times more: )?program .* writes: ")
"""What a program that is given records may say of them, see :mod:`edge_aac.sinks.exec`."""
_TOLD = {"health"}
"""Kinds of record that hold figures alone."""
_ENTRY_FIELDS = ("MESSAGE", "EDGE_AAC_KIND", "SYSLOG_IDENTIFIER", "_TRANSPORT", "_HOSTNAME", "_PID")

_BOARD_FILES = (
    *("etc/os-release", "proc/version", "proc/cmdline", "proc/cpuinfo", "proc/meminfo", "proc/loadavg", "proc/uptime"),
    *("proc/asound/cards", "proc/asound/pcm", "proc/self/cgroup", "proc/self/limits", "proc/mounts"),
    *("proc/device-tree/model", "etc/nv_tegra_release", "proc/driver/nvidia/version", "var/lib/nvpmodel/status"),
    *("etc/nvpmodel.conf", "sys/devices/soc0/machine"),
)
_BOARD_PATTERNS = (
    "sys/class/thermal/thermal_zone*/type",
    "sys/class/thermal/thermal_zone*/temp",
    "dev/snd/*",
    "sys/class/devfreq/*/*_freq",
    "dev/nv*",
    "dev/dri/*",
)

_HEAD = """\
A support dump of edge-aac, made {time}.

It holds:
{files}

Hidden: passwords, tokens and keys, user and password of addresses, and names of users in paths of their homes.
Left out: sound, clips, weights of models, and captions, events and alerts: what was heard ({heard} lines of the log),
with all that programs which are given records have written.
Kept: names of this machine, of sources and hosts, and addresses in the network. Look through it before you send it.
"""


@dataclass(frozen=True)
class Entry:
    """A file of the archive.

    Attributes:
        name: its path in the archive.
        what: description for the list of what is inside.
        make: gives its text; what it raises as an error of a user is written in its place.
    """

    name: str
    what: str
    make: Callable[[], str]


class Dump:
    """Collects what a support dump holds.

    Args:
        context: settings, environment and the root of the file system.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._scrubber = Scrubber.of(context)
        self._heard = 0

    def files(self) -> Iterator[tuple[Entry, str]]:
        """The entries of the archive with their texts, secrets hidden; the list of what is inside comes last."""
        listed = []
        for entry in self._entries():
            try:
                text = entry.make()
            except (EdgeAacError, OSError, subprocess.SubprocessError) as error:
                text = f"({error})\n"
            if not text:
                continue
            listed.append(f"  {entry.name:<24} {entry.what}")
            # Cut last: a piece of a secret is known to nobody.
            yield entry, self._scrubber.text(text)[-LONGEST_FILE:]
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        head = _HEAD.format(time=made, files="\n".join(listed), heard=self._heard)
        yield Entry("README.txt", "this list", str), self._scrubber.text(head)

    def _entries(self) -> Iterator[Entry]:
        yield Entry("doctor.jsonl", "what `edge-aac doctor` finds", self._doctor)
        yield Entry("settings.toml", "what `edge-aac config --show` gives", self._settings)
        yield Entry("versions.txt", "installed Python packages", _packages)
        for number, manifest in enumerate(self._manifests()):
            name = "manifest.json" if number == 0 else f"manifest-{number + 1}.json"
            yield Entry(name, "manifest of the bundle, without its weights", manifest)
        yield Entry("builds.json", "what the last `edge-aac build-engine` reported of it", self._builds)
        yield Entry("devices.jsonl", "what `edge-aac devices` gives", _devices)
        yield Entry("machine.txt", "kernel, board, memory, sound cards, mounts, temperatures", self._machine)
        yield Entry("service.json", "state of the service's units", _service)
        yield Entry("journal.txt", f"the last {LOG_LINES} lines that the service logged", self._journal)
        for number, path in enumerate(state_files(self._context)):
            name = "health.json" if number == 0 else f"health-{number + 1}.json"
            yield Entry(name, "state of the running service", partial(_read, path))

    def _doctor(self) -> str:
        return "".join(json.dumps(result.table(), ensure_ascii=False) + "\n" for result in run_checks(self._context))

    def _settings(self) -> str:
        loaded = self._context.loaded
        return show(loaded) if loaded is not None else f"# {self._context.fault}\n"

    def _manifests(self) -> list[Callable[[], str]]:
        """What reads the manifest of each bundle that is configured: one, or those of an ensemble."""
        from edge_aac.bundle.manifest import MANIFEST
        from edge_aac.bundle.names import bundle_names
        from edge_aac.bundle.store import find_bundle
        from edge_aac.models.settings import CaptionerSettings

        if self._context.loaded is None:
            return [str]
        names = self._context.loaded.get(CaptionerSettings).bundle
        try:
            listed = bundle_names(names)
        except EdgeAacError:
            listed = (names,)  # what is wrong with it stands in the entry

        def reader(name: str) -> Callable[[], str]:
            return lambda: _read(find_bundle(name) / MANIFEST)

        return [reader(name) for name in listed]

    def _builds(self) -> str:
        from edge_aac.bundle.build_reports import last_report, unfinished_build
        from edge_aac.bundle.names import bundle_names
        from edge_aac.models.settings import CaptionerSettings

        if self._context.loaded is None:
            return ""
        names = bundle_names(self._context.loaded.get(CaptionerSettings).bundle)
        kept = [told for name in names for told in (unfinished_build(name), last_report(name)) if told]
        return json.dumps(kept, ensure_ascii=False, indent=1) + "\n" if kept else ""

    def _machine(self) -> str:
        blocks = [f"== /{name}\n{text}\n" for name in _BOARD_FILES if (text := self._context.text(name))]
        for path in self._context.there(*_BOARD_PATTERNS):
            name = str(path.relative_to(self._context.root))
            blocks.append(f"== /{name}\n{self._context.text(name) if path.is_file() else ''}\n")
        return "".join(blocks)

    def _journal(self) -> str:
        units = [word for unit in UNITS for word in ("-u", unit, "--user-unit", unit)]
        # As JSON: the text of an entry does not tell a sentence that a sink wrote from a message of the log.
        form = ("-o", "json", "--all", f"--output-fields={','.join(_ENTRY_FIELDS)}")
        kept = []
        for line in _output("journalctl", "--no-pager", *form, "-n", str(LOG_LINES), *units).splitlines():
            entry = _journal_entry(line)
            if entry is not None and is_heard(entry):
                self._heard += 1
            else:
                kept.append(line if entry is None else _journal_line(entry))
        return "".join(f"{line}\n" for line in kept)


def is_heard(entry: Mapping[str, str]) -> bool:
    """Whether an entry of the journal is a record of what was heard, and not a log message.

    Records come there by the sinks ``journal``, whose entries name their kind, ``syslog``, to which nothing else of the
    service writes, and ``stdout``, as lines among those of the log. Programs of the sink ``exec`` may write them, too.

    Args:
        entry: its fields, see systemd.journal-fields(7).
    """
    if "EDGE_AAC_KIND" in entry:
        return entry["EDGE_AAC_KIND"] not in _TOLD
    message = entry.get("MESSAGE", "")
    if match := _HEARD_SCHEMA.search(message):
        return match[2] not in _TOLD
    if entry.get("_TRANSPORT") == "syslog" and entry.get("SYSLOG_IDENTIFIER") == "edge-aac":
        return True
    lines = (_HEARD_LINE, _PROGRAM_LINE)
    return message.startswith("{") or any(line.match(message) is not None for line in lines)


def _journal_entry(line: str) -> dict[str, str] | None:
    """The fields of an entry, of a line that ``journalctl -o json`` gives; None where the line is none.

    A field that is no UTF-8 comes as a list of bytes, one that an entry has several times as a list of its values.
    """
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    return {name: _field_text(value) for name, value in fields.items()}


def _field_text(value: object) -> str:
    if not isinstance(value, list):
        return "" if value is None else str(value)
    if value and all(isinstance(each, int) for each in value):
        return bytes(each % 256 for each in value).decode("utf-8", "replace")
    return " ".join(map(_field_text, value))


def _journal_line(entry: Mapping[str, str]) -> str:
    """An entry as ``journalctl -o short-iso-precise`` shows it."""
    moment = datetime.fromtimestamp(int(entry.get("__REALTIME_TIMESTAMP", "0")) / 1e6, timezone.utc)
    writer = f"{entry.get('SYSLOG_IDENTIFIER', '?')}[{entry.get('_PID', '?')}]"
    message = entry.get("MESSAGE", "").replace("\n", "\n    ")
    return f"{moment.isoformat(timespec='microseconds')} {entry.get('_HOSTNAME', '?')} {writer}: {message}"


def pack(dump: Dump, path: Path) -> list[str]:
    """Write the archive, readable for its owner alone.

    Args:
        dump: what it holds.
        path: file that is made; it must not be there yet.

    Returns:
        The names of the files in it, each with its description.

    Raises:
        UsageError: there is such a file already.
        InputMissingError: its folder is not there.
        DeviceError: it cannot be written.
    """
    folder = path.name.removesuffix(".gz").removesuffix(".tar")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    except FileExistsError as error:
        raise UsageError(f"there is already a file '{path}': name another one") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputMissingError(f"there is no folder for '{path}': make it") from error
    except (OSError, ValueError) as error:
        raise DeviceError(f"'{path}' cannot be written ({error}): name another file") from error
    names = []
    try:
        with open(descriptor, "wb") as stream, tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for entry, text in dump.files():
                data = text.encode("utf-8", "replace")
                member = tarfile.TarInfo(f"{folder}/{entry.name}")
                member.size, member.mode, member.mtime = len(data), MODE, round(time.time())
                archive.addfile(member, io.BytesIO(data))
                names.append(f"{entry.name}: {entry.what}")
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise DeviceError(f"'{path}' cannot be written ({error.strerror}): make room") from error
        raise
    return names


def _packages() -> str:
    found = {(each.metadata["Name"] or "?", each.version) for each in distributions()}
    return "".join(f"{name} {version}\n" for name, version in sorted(found, key=str))


def _devices() -> str:
    # A process of its own: a driver may hang.
    return _output(sys.executable, "-m", "edge_aac.cli", "devices", "--format", "json")


def _service() -> str:
    units: list[dict[str, str]] | None = unit_states()
    return json.dumps(units, indent=1, ensure_ascii=False) + "\n" if units else ""


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _output(*command: str) -> str:
    """Standard output of a program, and why it failed where it did; that it is not installed, where it is not."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_COMMAND_S,
        )
    except FileNotFoundError:
        return f"({command[0]} is not installed)\n"
    return done.stdout + (f"({command[0]}: {done.stderr.strip()})\n" if done.returncode else "")
