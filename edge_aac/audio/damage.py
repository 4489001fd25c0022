"""Sound that is cut into pieces, and may be damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from edge_aac.errors import EdgeAacError

Block = TypeVar("Block")
Piece = TypeVar("Piece")


def cut_to_the_end(
    blocks: Iterable[Block], push: Callable[[Block], Iterable[Piece]], flush: Callable[[], Iterable[Piece]]
) -> Iterator[Piece]:
    """Gives the pieces of blocks of sound: what comes before a damage is heard to its end.

    Args:
        blocks: the sound.
        push: takes the next block, and gives the pieces that it completes.
        flush: ends the sound, and gives what is left of it.

    Raises:
        EdgeAacError: what ``blocks`` raised, after the last piece.
    """
    failure: EdgeAacError | None = None
    source = iter(blocks)
    while True:
        try:
            block = next(source, None)
        except EdgeAacError as error:
            failure = error
            break
        if block is None:
            break
        yield from push(block)
    yield from flush()
    if failure is not None:
        raise failure
