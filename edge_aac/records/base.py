"""The base of all records: a schema, one JSON object each, and a sentence for a person."""

from __future__ import annotations

import re
from abc import abstractmethod
from datetime import datetime, timezone
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_NO_TEXT = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Surrogates that stand for no byte of a file's name."""


class Part(BaseModel):
    """A frozen table in a record. Absent values are left out of its JSON and not written as null."""

    # Built when imported: several threads make records, and before 2.14 pydantic builds no class safely in two at once.
    model_config = ConfigDict(frozen=True, populate_by_name=True, protected_namespaces=())

    def to_table(self) -> dict[str, Any]:
        """The record as plain tables, without absent fields."""
        return self.model_dump(by_alias=True, exclude_none=True)

    def to_json(self) -> str:
        """The record as one line of JSON, without absent fields."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class TimeSpan(Part):
    """Time span of a sound: wall-clock times (RFC 3339, UTC), or seconds from the start of a file or pipe."""

    start: str | None = None
    end: str | None = None
    start_s: float | None = None
    end_s: float | None = None


class Record(Part):
    """Base of all records that leave the device.

    A subclass sets the default of ``schema_`` to its schema (``edge-aac/caption/1``) and renders itself as a
    sentence. It is registered in the entry-point group ``edge_aac.records`` under its schema, see
    :mod:`edge_aac.records.registry`; sinks need to know nothing else about it.

    Attributes:
        schema_: name and version of the record's form; ``schema`` in JSON.
        node: name of the device.
        source: label of the source of sound: ``mic0``, a configured name, or a file's path as the user wrote it.
        start, end: wall-clock times of the sound (RFC 3339, UTC); absent for a file or pipe.
        start_s, end_s: seconds from the start of a file or pipe; absent for a live source.
    """

    schema_: str = Field(alias="schema")
    node: str
    source: str
    start: str | None = None
    end: str | None = None
    start_s: float | None = None
    end_s: float | None = None

    @property
    def kind(self) -> str:
        """The schema without its family and version: ``caption`` of ``edge-aac/caption/1``."""
        return kind_of(self.schema_)

    @abstractmethod
    def sentence(self) -> str:
        """The record in plain words for a person, without its time and source."""

    def line(self) -> str:
        """The record as one line for a person: when, where it was heard, and :meth:`sentence`."""
        if self.start is not None and self.end is not None:
            # The date is the reader's own day; the clock time is what a glance needs.
            return f"{self.start[11:19]}-{self.end[11:19]} UTC  {self.source}  {self.sentence()}"
        if self.start_s is not None and self.end_s is not None:
            return f"{self.source}  {self.start_s:7.1f} s -{self.end_s:7.1f} s  {self.sentence()}"
        return f"{self.source}  {self.sentence()}"


def kind_of(schema: str) -> str:
    """The middle part of a schema's name: ``caption`` of ``edge-aac/caption/1``."""
    family, _, rest = schema.partition("/")
    return rest.rpartition("/")[0] or rest or family


def as_text(text: str) -> str:
    """Text as JSON needs it: bytes of a file's name that are no UTF-8 become replacement characters."""
    without = _NO_TEXT.sub("\ufffd", text)
    return without.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def rfc3339(seconds: float) -> str:
    """Unix time in seconds as RFC 3339 in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(round(seconds, 3), tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
