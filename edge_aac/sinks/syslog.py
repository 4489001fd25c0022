"""Records in the machine's system log, as RFC 5424 has them."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path
from typing import Literal

from pydantic import Field

from edge_aac.errors import DeviceError
from edge_aac.records import Record, as_text, rfc3339
from edge_aac.sinks.contract import SinkSettings
from edge_aac.sinks.local_log import LogSocket, priority_of
from edge_aac.terminal import escaped

_FACILITIES = {"user": 1, "daemon": 3} | {f"local{number}": 16 + number for number in range(8)}
_APPLICATION = "edge-aac"
_ELEMENT = "edge-aac@32473"
"""RFC 5612 keeps this number of an enterprise for those that have none of their own."""
_MAX_TEXT_BYTES = 6000
_NOT_IN_HEADERS = re.compile(r"[^!-~]")
_TO_ESCAPE = re.compile(r'(["\\\]])')
_OF_JOURNALD = Path("/run/systemd/journal")


class SyslogSettings(SinkSettings):
    """``[[sinks]]`` of kind ``syslog``.

    Attributes:
        socket: of the log.
        form: of the lines: that of RFC 5424, or the older one of RFC 3164, which journald reads at /dev/log; "auto"
            looks whose socket it is.
        facility: part of the system that the log sorts the records under.
        content: a sentence for a person, or the record as JSON.
    """

    socket: Path = Field(default=Path("/dev/log"), description="Socket of the log.")
    form: Literal["auto", "rfc5424", "rfc3164"] = Field(
        default="auto", description="Form of a line; auto: RFC 3164 where journald reads it, else RFC 5424."
    )
    facility: Literal[
        "user", "daemon", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"
    ] = Field(default="daemon", description="What the log sorts the records under.")
    content: Literal["sentence", "json"] = Field(default="sentence", description="What a line holds.")

    def leaves(self) -> str:
        """Where records go, see :class:`edge_aac.sinks.contract.SinkSettings`."""
        return f'{self.records_in_words} go to the system log at "{self.socket}", which may send them on.'

    @classmethod
    def parse(cls, rest: str) -> SyslogSettings:
        """Settings from the path of a socket, of ``syslog`` or ``syslog:PATH``."""
        return cls(socket=Path(rest)) if rest else cls()


class SyslogSink:
    """Writes each record as one line of the log.

    Args:
        settings: see :class:`SyslogSettings`.

    Raises:
        ConfigError: the path is that of no socket.
    """

    Settings = SyslogSettings

    def __init__(self, settings: SyslogSettings) -> None:
        self._settings = settings
        self._log = LogSocket(settings.socket)
        self._host = _NOT_IN_HEADERS.sub("_", socket.gethostname())[:255] or "-"

    @classmethod
    def open(cls, settings: SyslogSettings) -> SyslogSink:
        """See :class:`edge_aac.sinks.contract.SinkKind`."""
        return cls(settings)

    @classmethod
    def check(cls, settings: SyslogSettings) -> str:
        """See :class:`edge_aac.sinks.contract.SinkKind`: a line of severity debug says that it is a test."""
        sink = cls(settings)
        try:
            text = "edge-aac doctor tests this log; nothing was heard"
            if not sink._log.send(sink._line(7, time.time(), "doctor", "", text)):
                raise DeviceError(f"the log at '{settings.socket}' takes no line at all: name another one")
        finally:
            sink.close()
        return f"a line was written to the log at '{settings.socket}'"

    def publish(self, record: Record) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`.

        Raises:
            TransientSinkError: the log is not there, or takes nothing.
        """
        text = record.to_json() if self._settings.content == "json" else f"{record.source}: {record.sentence()}"
        told = {"node": record.node, "source": record.source, "start": record.start, "end": record.end}
        pairs = [f'{name}="{_TO_ESCAPE.sub(_escaped, _plain(value))}"' for name, value in told.items() if value]
        # The time of the line is that of its writing: a log is read in that order.
        when_s, priority = time.time(), priority_of(record)
        for limit in (_MAX_TEXT_BYTES, _MAX_TEXT_BYTES // 4, 100):
            short = _plain(text).encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")
            if self._log.send(self._line(priority, when_s, record.kind, " ".join(pairs), short)):
                return
            pairs = []
        raise DeviceError(f"the log at '{self._settings.socket}' takes no line at all: name another one")

    def close(self) -> None:
        """See :class:`edge_aac.sinks.contract.Sink`."""
        self._log.close()

    def _line(self, severity: int, when_s: float, kind: str, pairs: str, text: str) -> bytes:
        number = 8 * _FACILITIES[self._settings.facility] + severity
        if self._older:
            moment = time.strftime("%b %e %H:%M:%S", time.localtime(when_s))
            return f"<{number}>{moment} {_APPLICATION}[{os.getpid()}]: {text}".encode()
        element = f"[{_ELEMENT} {pairs}]" if pairs else "-"
        name = _NOT_IN_HEADERS.sub("_", kind)[:32] or "-"
        head = f"<{number}>1 {rfc3339(when_s)} {self._host} {_APPLICATION} {os.getpid()} {name} {element} "
        return head.encode() + b"\xef\xbb\xbf" + text.encode()

    @property
    def _older(self) -> bool:
        if self._settings.form != "auto":
            return self._settings.form == "rfc3164"
        try:
            return self._settings.socket.resolve().is_relative_to(_OF_JOURNALD)
        except OSError:
            return False


def _plain(text: str) -> str:
    return escaped(as_text(text))


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found[1]}"
