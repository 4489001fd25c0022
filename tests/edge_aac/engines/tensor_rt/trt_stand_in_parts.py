"""What the two halves of the stand-in for TensorRT have in common: its classes, its memory, its plans."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.edge_aac.engines.tensor_rt.trt_api import Declared, Signature

MAGIC = b"stand-in plan\n"


def named(name: str) -> Callable[[type], type]:
    def rename(behaviour: type) -> type:
        behaviour.__name__ = name
        return behaviour

    return rename


def overridable(name: str, facts: dict[str, Any]) -> type:
    """A class to derive from: an override that TensorRT would never call is refused."""

    def begin(self: Any) -> None:
        self._begun = True

    def check(cls: type) -> None:
        made_up = {key for key in vars(cls) if not key.startswith("_")} - set(facts["methods"])
        assert not made_up, f"{name} never calls {made_up}"

    return type(name, (), {"__init__": begin, "__init_subclass__": classmethod(check)})


class Constructed(Declared):
    _trt: Any

    def __init__(self, *arguments: Any) -> None:
        signatures = [Signature(text) for text in self._facts["methods"]["__init__"]]
        if not any(signature.accepts(arguments, {}) for signature in signatures):
            raise TypeError(f"{type(self).__name__}{arguments!r} is not {self._facts['methods']['__init__']}")
        logger = arguments[-1]
        assert getattr(logger, "_begun", False), "pybind11 wants ILogger.__init__() to be called"
        self._logger = logger
        self._begin(*arguments)

    def _begin(self, *arguments: Any) -> None:
        pass


class Given(Declared):
    _trt: Any


class HostMemory(bytearray):
    """pybind11's buffer protocol: to be read through ``memoryview``; it has no length and no items."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.nbytes = len(content)

    def __len__(self) -> int:
        raise TypeError("IHostMemory has no len(): use nbytes")

    def __getitem__(self, _: Any) -> Any:
        raise TypeError("IHostMemory has no items: use memoryview()")


def pack(header: dict[str, Any], model: bytes) -> bytes:
    """A plan: what it is tied to, and the ONNX file."""
    body = json.dumps(header).encode() + b"\n" + model
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + body


def unpack(content: bytes) -> tuple[dict[str, Any], bytes] | None:
    """What :func:`pack` packed; None where it is not whole."""
    body = content[len(MAGIC) + 64 :]
    if MAGIC + hashlib.sha256(body).hexdigest().encode() + body != content:
        return None
    head, _, model = body.partition(b"\n")
    return json.loads(head), model


def stand_in_plan(
    path: Path, onnx_path: Path, ranges: dict[str, Any], version: str = "10.3.0", half: tuple[str, ...] = ()
) -> None:
    """Write a plan without building it."""
    header = {"tensorrt": version, "ranges": ranges, "half": half, "layers": [], "detailed": True}
    path.write_bytes(pack(header, onnx_path.read_bytes()))
