"""The file of a bundle that lists the sounds its captions name, each with its words and what it is an example of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from edge_aac.bundle import limits
from edge_aac.bundle.json_text import read_json
from edge_aac.bundle.section import Name, Section
from edge_aac.bundle.store import Bundle
from edge_aac.errors import DataError, InputMissingError, first_complaint
from edge_aac.fluency.sound_names import Say, SoundNames, SoundWords

SOUNDS_SCHEMA = "edge-aac/sounds/1"

_MAX_WORDINGS = 200
_Wordings = Annotated[list[Name], Field(max_length=_MAX_WORDINGS)]


class _Say(Section):
    subjects: _Wordings
    verbs: _Wordings


class _Sound(Section):
    parents: _Wordings = []
    says: Annotated[list[_Say], Field(max_length=_MAX_WORDINGS)] = []
    nouns: _Wordings = []


class _Table(Section):
    schema_: Literal["edge-aac/sounds/1"] = Field(alias="schema")
    connectives: _Wordings
    sounds: dict[Name, _Sound] = Field(max_length=limits.MAX_LABELS)


def read_sounds(path: Path) -> SoundNames:
    """Read the sounds of a bundle.

    Raises:
        InputMissingError: the file cannot be read.
        DataError: it is no such file, or a parent is missing or leads back to its sound.
    """
    try:
        table = _Table.model_validate(read_json(path))
        return SoundNames(
            {
                name: SoundWords(
                    tuple(sound.parents),
                    tuple(Say(tuple(say.subjects), tuple(say.verbs)) for say in sound.says),
                    tuple(sound.nouns),
                )
                for name, sound in table.sounds.items()
            },
            table.connectives,
        )
    except OSError as error:
        raise InputMissingError(f"{path} cannot be read ({error.strerror}): install the bundle again") from error
    except ValidationError as error:
        raise DataError(f"{path} does not list sounds ({first_complaint(error)}): install the bundle again") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} lists sounds that cannot be ({error}): install the bundle again") from error


def sounds_of(bundle: Bundle) -> SoundNames | None:
    """The sounds that a bundle lists; None where it lists none.

    Raises:
        InputMissingError, DataError: as :func:`read_sounds`.
    """
    listed = bundle.manifest.sounds
    return None if listed is None else read_sounds(bundle.checked(listed))


def sounds_table(names: SoundNames) -> dict[str, object]:
    """The table of :func:`read_sounds`, to be written as JSON."""
    return {
        "schema": SOUNDS_SCHEMA,
        "connectives": sorted(names.connectives),
        "sounds": {
            name: {
                "parents": list(words.parents),
                "says": [{"subjects": list(say.subjects), "verbs": list(say.verbs)} for say in words.says],
                "nouns": list(words.nouns),
            }
            for name, words in names.sounds.items()
        },
    }
