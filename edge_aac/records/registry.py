"""Record classes by schema, those of installed packages included."""

from __future__ import annotations

import json

from pydantic import ValidationError

from edge_aac.errors import ConfigError, DataError, first_complaint
from edge_aac.plugins import load, registered
from edge_aac.records.base import Record, kind_of

ENTRY_POINT_GROUP = "edge_aac.records"


def known_schemas() -> list[str]:
    """All schemas that edge-aac and the installed packages register, sorted."""
    return list(registered(ENTRY_POINT_GROUP))


def known_kinds() -> list[str]:
    """The kinds of record that there are: ``caption`` for ``edge-aac/caption/1``; sorted."""
    return sorted({kind_of(schema) for schema in known_schemas()})


def record_class(schema: str) -> type[Record]:
    """The class of a schema.

    Raises:
        DataError: no installed package registers the schema.
        ConfigError: a package registers it, but its code cannot be loaded or is no record.
    """
    schemas = registered(ENTRY_POINT_GROUP)
    point = schemas.get(schema)
    if point is None:
        raise DataError(f"there is no record schema '{schema}': this version knows {', '.join(schemas)}")
    found = load(point, f"the record schema '{schema}'")
    if not (isinstance(found, type) and issubclass(found, Record)):
        raise ConfigError(f"the record schema '{schema}' is registered as {point.value}, which is no Record")
    return found


def parse_record(line: str | bytes) -> Record:
    """Read a record back from its JSON.

    Raises:
        DataError: the text is not JSON, or no record of a known schema.
        ConfigError: the schema's own package cannot be loaded.
    """
    try:
        table = json.loads(line)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"a record is not JSON ({error})") from error
    schema = table.get("schema") if isinstance(table, dict) else None
    if not isinstance(schema, str):
        raise DataError("a record without a schema cannot be read")
    try:
        return record_class(schema).model_validate(table)
    except ValidationError as error:
        raise DataError(f"a record is not {schema}: {first_complaint(error)}") from error
