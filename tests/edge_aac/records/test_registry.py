"""Records are read back by their schema, whoever wrote the class."""

from __future__ import annotations

import pytest

from edge_aac.errors import ConfigError, DataError
from edge_aac.records import Caption, Event, Health, known_kinds, parse_record, record_class
from edge_aac.records.base import kind_of
from tests.edge_aac.fakes import caption_record
from tests.edge_aac.outside_package import OutsidePackage
from tests.edge_aac.streaming.health_cases import health_record


def test_own_schemas() -> None:
    assert {"caption", "event", "health"} <= set(known_kinds())
    assert [record_class(f"edge-aac/{kind}/1") for kind in ("caption", "event", "health")] == [Caption, Event, Health]


@pytest.mark.parametrize("record", [caption_record(3, event=1), health_record()])
def test_a_record_comes_back_from_its_json(record: Caption | Health) -> None:
    assert parse_record(record.to_json()) == record


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("[1]", "without a schema"),
        ('{"node": "kitchen"}', "without a schema"),
        ('{"schema": "edge-aac/caption/9"}', "no record schema.*edge-aac/caption/1"),
        ('{"schema": "edge-aac/caption/1"}', "node: Field required"),
    ],
)
def test_what_is_no_record_is_refused_in_a_sentence(line: str | bytes, match: str) -> None:
    with pytest.raises(DataError, match=match):
        parse_record(line)


def test_the_kind_is_the_schema_without_family_and_version() -> None:
    assert kind_of("edge-aac/caption/1") == "caption"
    assert kind_of("acme/wind/gust/2") == "wind/gust"
    assert kind_of("plain") == "plain"


def test_a_class_that_cannot_be_loaded_is_named(outside_package: OutsidePackage) -> None:
    outside_package.install("", {"edge_aac.records": {"acme/gone/1": "acme_gone:Gone", "acme/odd/1": "builtins:int"}})
    with pytest.raises(ConfigError, match="acme_gone"):
        record_class("acme/gone/1")
    with pytest.raises(ConfigError, match="no Record"):
        record_class("acme/odd/1")


def test_a_health_record_in_words() -> None:
    record = health_record()
    assert record.sentence() == "[listening] 30 windows, 4 captions, 20 silent, 5 skipped"
    assert record.line().startswith("10:00:00-10:01:00 UTC  mic0  [listening]")
