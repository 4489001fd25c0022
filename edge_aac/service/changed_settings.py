"""Which settings a running service takes over from a file that is read anew, and which need a restart."""

from __future__ import annotations

from collections.abc import Iterator

from edge_aac.models.settings import CaptionerSettings
from edge_aac.settings.tree import Settings
from edge_aac.streaming.alerts.settings import AlertSettings
from edge_aac.streaming.event_settings import EventSettings
from edge_aac.streaming.load_settings import LoadSettings
from edge_aac.streaming.privacy_settings import PrivacySettings
from edge_aac.streaming.settings import HealthSettings, SinkSettings, SourceSettings, StreamSettings

_CHANGED_IN_PLACE = {
    StreamSettings: {"device", "hop_s", "silence_dbfs", "min_score", "familiar_only", "same_similarity"},
    SourceSettings: set(SourceSettings.model_fields),
    SinkSettings: set(SinkSettings.model_fields),
    CaptionerSettings: set(CaptionerSettings.model_fields),
    HealthSettings: set(HealthSettings.model_fields),
    LoadSettings: set(LoadSettings.model_fields),
    EventSettings: set(EventSettings.model_fields),
    AlertSettings: set(AlertSettings.model_fields),
    PrivacySettings: set(PrivacySettings.model_fields),
}
"""Settings that a reload puts in place, by section; every other one needs a restart."""


def need_restart(before: Settings, after: Settings) -> Iterator[str]:
    """Names of the settings that differ, and that only a restart puts in place."""
    for name, section in after.sections.items():
        old, new = before.values.get(name), after.values.get(name)
        if old == new:
            continue
        in_place = _CHANGED_IN_PLACE.get(section.model, set())
        if in_place == set(section.model.model_fields):
            continue
        if isinstance(old, tuple) or isinstance(new, tuple) or old is None or new is None:
            yield name
            continue
        yield from (
            f"{name}.{setting}"
            for setting in type(new).model_fields
            if setting not in in_place and getattr(old, setting, None) != getattr(new, setting)
        )
