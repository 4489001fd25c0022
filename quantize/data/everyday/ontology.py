"""AudioSet's classes and the tree above them, with how far a tagger's word for each was found true.

``audioset.csv`` has a row for each node of the tree (github.com/audioset/ontology at d417d32, 2017-03-08, by Google
Inc., CC BY-SA 4.0: names and parents alone): its number among the 527 that taggers give a probability, where it is one
of these; its name; its parents; and two counts of EfficientAT's ``mn04`` on 3 513 labelled recordings of 23 sets: how
often this class was the most probable one at a probability of 0.3 or more, and how often the recording's label agreed.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edge_aac.errors import DataError

TABLE = Path(__file__).with_name("audioset.csv")


@dataclass(frozen=True)
class Node:
    """A class of AudioSet, or a node that only holds classes together.

    Attributes:
        name: AudioSet's name.
        index: number of the class among those that taggers give a probability; None for any other node.
        parents: names of the nodes directly above; none of the tree's tops.
        fired: recordings on which a tagger was asked and gave this class as its first answer, with 0.3 or more.
        right: those of them whose label agreed.
    """

    name: str
    index: int | None
    parents: tuple[str, ...]
    fired: int = 0
    right: int = 0


class Ontology:
    """The tree.

    Args:
        nodes: name → node; every parent is among them.
    """

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self.nodes = dict(nodes)
        numbered = {node.index: node for node in nodes.values() if node.index is not None}
        self.classes = [numbered[index] for index in sorted(numbered)]

    def ancestors(self, name: str) -> tuple[str, ...]:
        """All nodes above one, nearest first."""
        found: dict[str, None] = {}
        level = self.nodes[name].parents
        while level:
            found.update(dict.fromkeys(level))
            level = tuple(above for parent in level for above in self.nodes[parent].parents)
        return tuple(found)

    def is_top(self, name: str) -> bool:
        """Whether nothing is above it."""
        return not self.nodes[name].parents


@lru_cache(maxsize=1)
def audioset() -> Ontology:
    """The tree that comes with the package.

    Raises:
        DataError: the table names a parent that it does not have.
    """
    with TABLE.open(encoding="utf-8", newline="") as stream:
        nodes = {
            row["name"]: Node(
                row["name"],
                int(row["index"]) if row["index"] else None,
                tuple(filter(None, row["parents"].split("|"))),
                int(row["fired"] or 0),
                int(row["right"] or 0),
            )
            for row in csv.DictReader(stream)
        }
    for node in nodes.values():
        for parent in node.parents:
            if parent not in nodes:
                raise DataError(f"{TABLE.name} has no row for {parent!r}, the parent of {node.name!r}: add it")
    return Ontology(nodes)
