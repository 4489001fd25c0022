"""A process that publishes numbers through a store, until it is killed: ``python -m … FOLDER FIRST``.

Its remote place is a file, to which each message that arrives is appended; it fails now and then. What was published is
named on standard output, once the sink has returned.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from edge_aac.backoff import Backoff
from edge_aac.records import Record
from edge_aac.sinks.message import Message
from edge_aac.sinks.remote import Receipts, RemoteFault, Spooled
from edge_aac.sinks.spool import Spool
from edge_aac.sinks.spool_settings import SpoolLimits


class FileRemote:
    """Appends each message to a file."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def messages(self, record: Record) -> Sequence[Message]:
        raise NotImplementedError

    def send(self, messages: Sequence[Message], receipts: Receipts) -> None:
        for each in messages:
            chance = random.random()
            if chance < 0.02:
                raise RemoteFault("it is away")
            os.write(self._descriptor, each.payload + b"\n")
            if chance < 0.04:
                raise RemoteFault("the receipt is lost")
            receipts.acknowledged(each)

    def close(self) -> None:
        os.close(self._descriptor)


def main(folder: Path, first: int) -> None:
    spool = Spool(folder / "messages.sqlite", SpoolLimits(sync_s=0.05))
    sink = Spooled(FileRemote(folder / "arrived"), spool, "a file", backoff=Backoff(0.001, 0.01))
    for number in count(first):
        sink.store([Message("caption", "mic0", str(number).encode())])
        os.write(1, b"%d\n" % number)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
