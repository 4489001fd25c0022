"""Files from their first to their last window: the steps of a stream, without a clock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from edge_aac.audio.windows import Window, file_windows
from edge_aac.errors import DataError, EdgeAacError
from edge_aac.models.contract import Description, WindowModel
from edge_aac.models.seq2seq import window_rng
from edge_aac.records import Record
from edge_aac.streaming.batches import describe_loud
from edge_aac.streaming.building import RecordBuilder, file_span, undescribed
from edge_aac.streaming.channel import ChannelSettings

BATCH_WINDOWS = 8
"""Windows that are described together; more gain little, and hold up the first caption."""

log = logging.getLogger(__name__)


def describe_windows(
    windows: Iterable[Window], model: WindowModel, settings: ChannelSettings
) -> Iterator[tuple[Window, Description | DataError | None]]:
    """Describe windows in batches.

    Yields:
        Each window in order, with its description, the error that it caused, or None where it is silent.

    Raises:
        EdgeAacError: what ``windows`` raises, after everything before it was given; or the model cannot go on.
    """
    source = iter(windows)
    failure: EdgeAacError | None = None
    while failure is None:
        batch: list[Window] = []
        ended = False
        while len(batch) < BATCH_WINDOWS:
            try:
                batch.append(next(source))
            except StopIteration:
                ended = True
                break
            except EdgeAacError as error:
                failure = error
                break
        rngs = [
            window_rng(settings.seed, window.start) if settings.level_gate.passes(window) else None for window in batch
        ]
        yield from zip(batch, describe_loud(model, list(zip(batch, rngs, strict=True))), strict=True)
        if ended:
            return
    raise failure


class FileCaptioner:
    """Captions whole files.

    Args:
        model: describes the windows.
        node: name of the device.
        settings: gates and seed; a caption is published for every window that passes them.
        hop_samples: samples at 16 kHz from the start of a window to the start of the next.
        publish: function that is given the records; it may wait.
    """

    def __init__(
        self,
        model: WindowModel,
        node: str,
        settings: ChannelSettings,
        hop_samples: int,
        publish: Callable[[Record], None],
    ) -> None:
        self._model = model
        self._node = node
        self._settings = settings
        self._hop_samples = hop_samples
        self._publish = publish

    def caption(self, path: Path) -> None:
        """Caption all windows of a file; one that cannot be described does not keep the others from it.

        Raises:
            EdgeAacError: the file cannot be read to its end, or the first window that could not be described.
        """
        builder = RecordBuilder(self._node, str(path), self._model.identity)
        failure: DataError | None = None
        seq = 0
        for window, description in describe_windows(file_windows(path, self._hop_samples), self._model, self._settings):
            span = file_span(window.start, window.start + window.samples)
            where = f"{path}: from {span.start_s} s to {span.end_s} s"
            if description is None:
                log.info("%s: silent (%.1f dBFS at most, A-weighted)", where, window.audible_dbfs)
            elif isinstance(description, DataError):
                log.warning("%s: not captioned: %s", where, description)
                end = window.start + window.samples
                failure = failure or undescribed(str(path), window.start, end, description)
            elif not self._settings.score_gate.passes(description):
                log.info("%s: unsure (%s)", where, description.confidence)
            else:
                self._publish(builder.caption(seq, span, window, description))
                seq += 1
        if failure is not None:
            raise failure
