"""Each configured sink is reached, without leaving a record where it would be taken for a caption."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from edge_aac.doctor.contract import Context, Finding, Part
from edge_aac.settings.faults import Chosen

LIMIT_S = 30.0


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    from edge_aac.service.opening import configured_sinks
    from edge_aac.sinks.stdout import StdoutSettings, StdoutSink

    sinks = configured_sinks(context.settings) or [Chosen("stdout", StdoutSettings(), StdoutSink)]
    names: Counter[str] = Counter()
    parts = []
    for chosen in sinks:
        names[chosen.kind] += 1
        name = chosen.kind if names[chosen.kind] == 1 else f"{chosen.kind}-{names[chosen.kind]}"
        parts.append(Part(partial(_reached, chosen), name, LIMIT_S))
    return parts


def _reached(chosen: Chosen) -> Iterator[Finding]:
    from edge_aac.sinks.contract import TransientSinkError, reason_of

    try:
        own = getattr(chosen.factory, "check", None)
        if own is not None:
            yield Finding("ok", str(own(chosen.settings)))
        else:
            chosen.factory.open(chosen.settings).close()
            yield Finding("ok", "it was opened and closed")
    except TransientSinkError as error:
        yield Finding("failed", reason_of(error))
