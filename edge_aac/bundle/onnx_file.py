"""What an ONNX file says of itself that a session does not tell: its operators, and the files that it refers to.

The runtime does without the package ``onnx``: the few fields that matter are read here from the protocol buffers'
wire format, past the weights, which are skipped and not read. Numbers of fields are those of ``onnx.proto``
(ONNX 1.17, IR version 10); https://protobuf.dev/programming-guides/encoding describes the format.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge_aac.errors import DataError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MORE = 0x80  # the bit that says that more bytes of a number follow
_MAX_DEPTH = 64  # graphs within graphs

_LOCATION = b"location"
FLOAT16 = 10
"""``TensorProto.DataType`` of half-precision numbers."""

# Messages by the fields that lead to operators and tensors: number of the field → message that it holds.
_FIELDS = {
    "model": {7: "graph", 25: "function"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {4: "operator", 5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {2: "type", 13: "external"},
    "external": {1: "key", 2: "value"},
}


@dataclass
class OnnxContents:
    """What was found in an ONNX file.

    Attributes:
        operators: names of all operators, without their domains.
        tensor_types: ``TensorProto.DataType`` of all weights and constants.
        locations: files that weights are in, as the file writes them.
    """

    operators: set[str] = field(default_factory=set)
    tensor_types: set[int] = field(default_factory=set)
    locations: set[str] = field(default_factory=set)


def read_contents(path: Path) -> OnnxContents:
    """Operators, types of weights and references of an ONNX file.

    Raises:
        OSError: it cannot be read.
        DataError: it is no ONNX file.
    """
    found = OnnxContents()
    with path.open("rb") as stream:
        try:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                _read(content, "model", (0, len(content)), found, 0)
        except (ValueError, IndexError) as error:  # mmap refuses an empty file with a ValueError
            raise DataError(f"{path} is no ONNX file: install or build the bundle again") from error
    return found


def references(path: Path) -> set[str]:
    """The files that an ONNX file keeps weights in, as it writes them.

    Raises:
        OSError: it cannot be read.
        DataError: it may refer to files, and is no ONNX file that could be read.
    """
    with path.open("rb") as stream:
        if not path.stat().st_size:
            return set()
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(_LOCATION) < 0:  # the key of every reference
                return set()
    return read_contents(path).locations


def _read(content: mmap.mmap, message: str, span: tuple[int, int], found: OnnxContents, depth: int) -> None:
    """Add what a message holds, which lies in a span of the file, to what was found.

    Raises:
        ValueError, IndexError: it is none.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    known, key = _FIELDS[message], b""
    for number, wire_type, start, end in _fields(content, *span):
        inner = known.get(number)
        if inner is None:
            continue
        if inner == "type":
            if wire_type == _VARINT:
                found.tensor_types.add(start)
        elif wire_type != _BYTES:
            raise ValueError("another wire type than the field has")
        elif inner == "operator":
            found.operators.add(content[start:end].decode())
        elif inner == "key":
            key = content[start:end]
        elif inner == "value":
            if key == _LOCATION:
                found.locations.add(content[start:end].decode())
        else:
            _read(content, inner, (start, end), found, depth + 1)


def _fields(content: mmap.mmap, place: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Fields of a message: number, wire type, and where its bytes start and end; of a varint its value, twice."""
    while place < end:
        # Most numbers are one byte, and a call for each would take longer than all the rest.
        tag, place = content[place], place + 1
        if tag >= _MORE:
            tag, place = _varint(content, place - 1)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _BYTES:
            size, place = content[place], place + 1
            if size >= _MORE:
                size, place = _varint(content, place - 1)
        elif wire_type == _VARINT:
            value, place = _varint(content, place)
            yield number, wire_type, value, value
            continue
        elif wire_type in {_FIXED64, _FIXED32}:
            size = 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError("a wire type that ONNX does not use")
        if place + size > end:
            raise ValueError("a field ends behind its message")
        yield number, wire_type, place, place + size
        place += size
    if place != end:
        raise ValueError("a field ends behind its message")


def _varint(content: mmap.mmap, place: int) -> tuple[int, int]:
    """A number and the place behind it."""
    value = content[place]
    place += 1
    if value < _MORE:
        return value, place
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            return value, place
    raise ValueError("a number of more than ten bytes")
