"""Records in systemd's journal, with fields that ``journalctl`` searches."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from edge_aac.errors import DeviceError
from edge_aac.records import Record
from edge_aac.sinks.contract import SinkSettings
from edge_aac.sinks.local_log import LogSocket, priority_of
from edge_aac.terminal import escaped

_NO_NAME = re.compile("[^A-Z0-9_]")
_LONGEST_NAME = 64
_DEBUG = 7


class JournalSettings(SinkSettings):
    """``[[sinks]]`` of kind ``journal``.

    Attributes:
        socket: of the journal.
    """

    socket: Path = Field(default=Path("/run/systemd/journal/socket"), description="Socket of the journal.")

    def leaves(self) -> str:
        """Where records go, see :class:`edge_aac.sinks.contract.SinkSettings`."""
        return f"{self.records_in_words} go to the system's journal."


class JournalSink:
    """Writes each record as one entry of the journal, see https://systemd.io/JOURNAL_NATIVE_PROTOCOL.

    Args:
        settings: see :class:`JournalSettings`.

    Raises:
        ConfigError: the path is that of no socket.
    """

    Settings = JournalSettings

    def __init__(self, settings: JournalSettings) -> None:
        self._log = LogSocket(settings.socket)

    @classmethod
    def open(cls, settings: JournalSettings) -> JournalSink:
        """See :class:`edge_aac.sinks.contract.SinkKind`."""
        return cls(settings)

    @classmethod
    def check(cls, settings: JournalSettings) -> str:
        """See :class:`edge_aac.sinks.contract.SinkKind`: an entry of priority debug says that it is a test."""
        sink = cls(settings)
        try:
            sink._send({"MESSAGE": "edge-aac doctor tests this journal; nothing was heard", "PRIORITY": str(_DEBUG)})
        finally:
            sink.close()
        return f"an entry was written to the journal at '{settings.socket}'"

    def publish(self, record: Record) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`.

        Raises:
            TransientSinkError: the journal is not there, or takes nothing.
        """
        fields = {
            "MESSAGE": escaped(f"{record.source}: {record.sentence()}"),
            "PRIORITY": str(priority_of(record)),
            "EDGE_AAC_KIND": record.kind,
            "EDGE_AAC_RECORD": record.to_json(),
        }
        for name, value in record.to_table().items():
            if isinstance(value, (str, int, float)):
                fields[f"EDGE_AAC_{_NO_NAME.sub('_', name.upper())}"[:_LONGEST_NAME]] = str(value)
        self._send(fields)

    def close(self) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`."""
        self._log.close()

    def _send(self, fields: Mapping[str, str]) -> None:
        entry = b"".join(_field(name, value) for name, value in {**fields, "SYSLOG_IDENTIFIER": "edge-aac"}.items())
        if self._log.send(entry):
            return
        # Too large for a datagram: the journal reads it from a file in memory that nobody can change any more.
        descriptor = os.memfd_create("edge-aac-record", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(descriptor, entry)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
            if not self._log.send(b"", descriptor):
                raise DeviceError(f"the journal at '{self._log.path}' takes no entry: name its own socket")
        finally:
            os.close(descriptor)


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "replace")
    if b"\n" in data:
        return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
    return name.encode() + b"=" + data + b"\n"
