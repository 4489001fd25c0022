"""Classes that have what a version of TensorRT has, and nothing else, from ``tests/trt_api/tensorrt-*.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

API = Path(__file__).parents[3] / "trt_api"
FILES = {"10.3.0": "10.3.0", "10.13.2": "10.13.2.6", "11.4.0": "11.4.0.106"}
VERSIONS = tuple(FILES)


def api_facts(version: str) -> dict[str, Any]:
    """Classes and enums of a version."""
    table: dict[str, Any] = json.loads((API / f"tensorrt-{FILES[version]}.json").read_text())
    return table


class EnumMember:
    """As pybind11 makes them: a name, a value, a number; nothing to do arithmetic with."""

    def __init__(self, enum: str, name: str, value: int) -> None:
        self._enum, self.name, self.value = enum, name, value

    def __int__(self) -> int:
        return self.value

    def __repr__(self) -> str:
        return f"<{self._enum}.{self.name}: {self.value}>"


def make_enum(enum: str, members: list[str], first: int) -> type:
    """Its values begin at ``first``: real ones differ between versions, so none may be relied on."""
    table = {name: EnumMember(enum, name, first + index) for index, name in enumerate(members)}
    return type(enum, (), {**table, "members": classmethod(lambda _: table)})


class Signature:
    """One overload, as pybind11 writes it down."""

    def __init__(self, text: str) -> None:
        match = re.fullmatch(r"(?:\d+\. )?\w+\((.*)\) -> (.*)", text)
        assert match, text
        parameters = [part.partition(": ") for part in _split(match[1])][1:]
        self.names = [name for name, _, _ in parameters]
        self.kinds = [kind.partition(" = ")[0] for _, _, kind in parameters]
        self.needed = sum(" = " not in kind for _, _, kind in parameters)

    def accepts(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> bool:
        """Whether these may be given."""
        if len(arguments) > len(self.names) or not set(keywords) <= set(self.names[len(arguments) :]):
            return False
        given = {**dict(zip(self.names, arguments, strict=False)), **keywords}
        kinds = dict(zip(self.names, self.kinds, strict=True))
        return set(self.names[: self.needed]) <= set(given) and all(_fits(kinds[name], given[name]) for name in given)


def _split(text: str) -> list[str]:
    """At the commas that are in no bracket."""
    parts, depth, part = [], 0, ""
    for letter in text:
        depth += (letter in "[(<") - (letter in "])>")
        if letter == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += letter
    return [*parts, part.strip()]


def _fits(kind: str, value: Any) -> bool:
    """Whether pybind11 would take a value for a parameter."""
    plain = {
        "int": lambda: isinstance(value, int) and not isinstance(value, bool),
        "str": lambda: isinstance(value, str),
        "bool": lambda: isinstance(value, bool),
        "tuple": lambda: isinstance(value, tuple),
        "list": lambda: isinstance(value, list),
        "object": lambda: True,
    }
    name = {"typing.SupportsInt": "int"}.get(kind, kind.rpartition(".")[2].rpartition("::")[2])
    if kind.endswith(("buffer", "Buffer")):
        return _is_buffer(value)
    if name in plain:
        return plain[name]()
    if "[" in kind:
        return isinstance(value, (list, tuple))
    if name == "Dims":
        return isinstance(value, (list, tuple)) and all(isinstance(size, int) for size in value)
    if isinstance(value, EnumMember):
        return value._enum == name
    return name in {base.__name__ for base in type(value).__mro__}


def _is_buffer(value: Any) -> bool:
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


class Declared:
    """A class that has what its version has: any other name is an AttributeError, any other argument a TypeError.

    What a subclass does not do of it fails the test: a stand-in that shrugs would let anything pass.
    """

    _facts: dict[str, Any]
    _version: str
    _calls: list[str]

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_"):
            return object.__getattribute__(self, name)
        where = f"{type(self).__name__} of TensorRT {self._version}"
        if name in self._facts["properties"]:
            self._calls.append(f"{type(self).__name__}.{name}")
            return object.__getattribute__(self, f"_{name}")
        if name not in self._facts["methods"]:
            raise AttributeError(f"{where} has no {name}")
        run = getattr(type(self), f"_{name}", None)
        assert run is not None, f"the stand-in for {where} does not do {name}"
        return self._checked(name, run)

    def _checked(self, name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        overloads = [Signature(text) for text in self._facts["methods"][name]]

        def call(*arguments: Any, **keywords: Any) -> Any:
            if not any(overload.accepts(arguments, keywords) for overload in overloads):
                raise TypeError(f"{type(self).__name__}.{name}: {self._facts['methods'][name]} not {arguments!r}")
            self._calls.append(f"{type(self).__name__}.{name}")
            return run(self, *arguments, **keywords)

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
            return
        if name not in self._facts["properties"]:
            raise AttributeError(f"{type(self).__name__} of TensorRT {self._version} has no {name}")
        self._calls.append(f"{type(self).__name__}.{name}=")
        object.__setattr__(self, f"_{name}", value)


def declare(behaviour: type, facts: dict[str, Any], version: str, calls: list[str]) -> type:
    """A behaviour limited to what a version has of the class of that name."""
    name = behaviour.__name__
    return type(name, (behaviour,), {"_facts": facts["classes"][name], "_version": version, "_calls": calls})
