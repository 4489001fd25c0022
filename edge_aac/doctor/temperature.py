"""The machine's temperature, beside what its zones call too warm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_aac.doctor.contract import Context, Finding, Part

HOT_C = 85.0
"""Where a zone names no limit of its own."""

_LIMITS = {"passive", "hot", "critical"}


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    return [Part(lambda: _temperature(context))]


def _temperature(context: Context) -> Iterator[Finding]:
    readings = []
    for zone in context.there("sys/class/thermal/thermal_zone*"):
        folder = str(zone.relative_to(context.root))
        celsius = _celsius(context.text(f"{folder}/temp"))
        if celsius is None:
            continue
        name = context.text(f"{folder}/type") or zone.name
        limits = [
            limit
            for path in zone.glob("trip_point_*_type")
            if context.text(f"{folder}/{path.name}") in _LIMITS
            and (limit := _celsius(context.text(f"{folder}/{path.name.replace('_type', '_temp')}")))
        ]
        # Some zones name a limit that is no temperature.
        limit = min((each for each in limits if each > 0), default=HOT_C)
        readings.append(f"{name} {celsius:.0f} °C")
        if celsius >= limit:
            yield Finding(
                "warning", f"{name} has {celsius:.0f} °C, its limit is {limit:.0f} °C", "cool the board, or raise hop_s"
            )
    yield Finding("ok", ", ".join(readings) if readings else "no sensors here")


def _celsius(text: str) -> float | None:
    """Degrees Celsius of a file of sysfs, in thousandths of a degree; None where it holds no temperature."""
    try:
        celsius = int(text) / 1000
    except ValueError:
        return None
    return celsius if -60 < celsius < 200 else None  # noqa: PLR2004 - sensors that are off give such numbers
