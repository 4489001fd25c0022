"""What the settings say of each source, decided to the last value, so that two readings can be compared."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial

from edge_aac.audio.sources.address import Address, Source, SourceContext, open_source
from edge_aac.audio.sources.discovery import FoundSource, covers_several
from edge_aac.audio.sources.paused import PausedSource
from edge_aac.audio.windows import WINDOW_SAMPLES, WindowSlicer, check_hop
from edge_aac.errors import ConfigError
from edge_aac.models.settings import CaptionerSettings
from edge_aac.records import as_text
from edge_aac.service.opening import Output, contexts_of, privacy_gate
from edge_aac.settings.tree import Settings
from edge_aac.streaming.alerts.settings import AlertSettings, rules_for, unknown_sources
from edge_aac.streaming.channel import Channel, ChannelSettings
from edge_aac.streaming.event_settings import EventSettings
from edge_aac.streaming.gate import EnergyGate, ScoreGate
from edge_aac.streaming.load import hop_limits, same_gate
from edge_aac.streaming.load_settings import LoadSettings
from edge_aac.streaming.session import Session
from edge_aac.streaming.settings import ConfiguredSource, SourceSettings, StreamSettings, configured_sources
from edge_aac.timebase import SAMPLE_RATE

_LATER = "; it counts for a device of that name, once one is found"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourcePlan:
    """A source as it is configured.

    Attributes:
        source: its address, and the settings of its own.
        context: what its factory is given beside the address.
        settings: how its channel listens.
        same_similarity: smallest cosine between captions of one event; None for the model's own.
        several: whether its address names several sources, which are discovered: no channel is its own.
        found_by: :attr:`key` of the plan whose discovery has found it; None where it is configured itself.
        alerts: where it is several, all rules for alerts: what is found follows those that name it, or this one.
    """

    source: ConfiguredSource
    context: SourceContext
    settings: ChannelSettings
    same_similarity: float | None
    several: bool = False
    found_by: tuple[str, str] | None = None
    alerts: tuple[AlertSettings, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same source in other settings: its address, and its label in records."""
        return self.source.address, self.label

    @property
    def label(self) -> str:
        """Name of the source in records."""
        return self.context.label(Address.parse(self.source.address))

    @property
    def reopen(self) -> Callable[[], Source]:
        """Opens the source anew."""
        return partial(open_source, self.source.address, self.context)

    @property
    def hop_samples(self) -> int:
        """Samples from one window to the next."""
        return round(self.source.hop_s * SAMPLE_RATE)

    def of_found(self, found: FoundSource, taken: Collection[str]) -> SourcePlan:
        """The plan of a source that the discovery of this one has found: it is heard by the same settings.

        Args:
            found: the source.
            taken: labels of others, which it must not have.
        """
        wanted = found.label if self.source.name is None else f"{self.source.name}-{found.label}"
        label, number = wanted, 2
        while label in taken:
            label, number = f"{wanted}-{number}", number + 1
        return self._of_member(found.address, label)

    def as_configured(self, by: SourcePlan) -> SourcePlan:
        """The plan of the same source, found by the same discovery, whose settings are now ``by``."""
        return by._of_member(self.source.address, self.label)  # noqa: SLF001 - of its own kind

    def _of_member(self, address: str, label: str) -> SourcePlan:
        source = replace(self.source, address=address, name=label)
        settings = replace(self.settings, alerts=rules_for((as_text(self.label), as_text(label)), self.alerts))
        member = replace(self, source=source, context=SourceContext(label), settings=settings, alerts=())
        return replace(member, several=False, found_by=self.key)

    def add_to(self, session: Session, opened: Source) -> Channel:
        """Have a session listen to the source, once it is opened."""
        slicer = WindowSlicer(WINDOW_SAMPLES, self.hop_samples)
        channel = session.add(opened, slicer, self.settings, same_similarity=self.same_similarity, reopen=self.reopen)
        if isinstance(opened, PausedSource):
            channel.capture.pause()
        return channel


def source_plans(settings: Settings, output: Output) -> list[SourcePlan]:
    """The sources that are enabled, in order.

    Raises:
        ConfigError: there is none, two of them read standard input, a hop is unusable, or what is private cannot be
            told.
    """
    stream = settings.get(StreamSettings)
    wanted = configured_sources(stream, settings.tables(SourceSettings))
    if not wanted:
        raise ConfigError("no source is enabled: enable one of the [[sources]]")
    if sum(Address.parse(source.address).scheme == "stdin" for source in wanted) > 1:
        raise ConfigError("standard input is named by two sources: name it once")
    captioner, load = settings.get(CaptionerSettings), settings.get(LoadSettings)
    privacy, rules = privacy_gate(settings), settings.get(EventSettings).rules()
    alerts = settings.tables(AlertSettings)
    plans = [
        SourcePlan(
            source,
            context,
            ChannelSettings(
                EnergyGate(source.silence_dbfs),
                ScoreGate(stream.min_score, stream.familiar_only),
                captioner.seed,
                output.every_window,
                same_gate(load),
                hop_limits(load),
                privacy,
                rules,
                rules_for((_label(source, context),), alerts),
                captioner.ask_every == "window",
            ),
            stream.same_similarity,
            several,
            alerts=alerts if several else (),
        )
        for source, context in zip(wanted, contexts_of(wanted), strict=True)
        for several in (covers_several(source.address),)
    ]
    for plan in plans:
        check_hop(plan.hop_samples)
    if any(plan.several for plan in plans):
        return plans  # a rule may be for what is yet to be found
    disabled = [table for table in settings.tables(SourceSettings) if not table.enabled]
    known = [as_text(plan.label) for plan in plans]
    known += [table.name or as_text(Address.parse(table.address).label) for table in disabled]
    found = any(plan.several for plan in plans)  # then it may be the name of a device that is yet to be found
    for sentence in unknown_sources(alerts, known):
        log.log(logging.INFO if found else logging.WARNING, "%s%s", sentence, _LATER if found else "")
    return plans


def _label(source: ConfiguredSource, context: SourceContext) -> str:
    return as_text(context.label(Address.parse(source.address)))
