"""The clips of a run, of all its sources: one folder, one writer, and a recorder for each source."""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge_aac.records import ClipsHealth, TimeSpan
from edge_aac.streaming.building import RecordBuilder
from edge_aac.streaming.clips.folder import ClipFolder, Limits
from edge_aac.streaming.clips.recorder import ClipRecorder, History
from edge_aac.streaming.clips.settings import ClipSettings
from edge_aac.streaming.clips.writer import CLOSE_TIMEOUT_S, ClipWriter
from edge_aac.streaming.hub import Delivery

_DAY_S = 86_400.0

log = logging.getLogger(__name__)


class ClipSaving:
    """Saves clips as the settings say.

    Args:
        settings: the section ``[clips]``.
        writer: closed by :meth:`close`.
    """

    def __init__(self, settings: ClipSettings, writer: ClipWriter) -> None:
        self._settings = settings
        self._writer = writer

    @property
    def health(self) -> ClipsHealth:
        """State and counters now."""
        return self._writer.health

    def recorder(
        self,
        builder: RecordBuilder,
        history: History,
        span: Callable[[int, int], TimeSpan],
        publish: Callable[[Delivery], None],
        *,
        live: bool,
        guarded: bool,
    ) -> ClipRecorder | None:
        """What records the clips of one source; None for one that is not live.

        Args:
            builder, history, span, publish, guarded: see :class:`~edge_aac.streaming.clips.recorder.ClipRecorder`.
            live: whether the source is live. The sound of any other is saved already, or comes from a program.
        """
        if not live:
            log.info("%s: no clips are saved of it, its sound is in a file or a pipe", builder.source)
            return None
        return ClipRecorder(
            self._settings,
            self._writer,
            builder=builder,
            history=history,
            span=span,
            publish=publish,
            guarded=guarded,
        )

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Write what waits; see :meth:`edge_aac.streaming.clips.writer.ClipWriter.close`."""
        self._writer.close(timeout_s)


def open_clips(settings: ClipSettings) -> ClipSaving | None:
    """What saves the clips; None where none are to be saved.

    Raises:
        ConfigError: the folder cannot be made or written to.
    """
    if not settings.enabled:
        return None
    folder = settings.resolved_folder()
    limits = Limits(
        max_bytes=round(settings.max_total_mb * 1e6),
        max_age_s=settings.max_age_days * _DAY_S if settings.max_age_days else None,
        min_free_bytes=round(settings.min_free_mb * 1e6),
    )
    saving = ClipSaving(settings, ClipWriter(ClipFolder(folder, limits)))
    log.info("clips of events are saved in '%s'", folder)
    return saving
