"""The discoveries of a running stream: what looks for sources at the addresses that name several."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from edge_aac.audio.sources.discovery import Discovery, open_discovery
from edge_aac.service.plans import SourcePlan

Key = tuple[str, str]
"""A :attr:`~edge_aac.service.plans.SourcePlan.key`."""


class Discoveries:
    """Each address that names several sources, as it is configured, with what looks for them.

    It is changed between two rounds of the session; any thread may iterate over it.
    """

    def __init__(self) -> None:
        self._open: dict[Key, tuple[SourcePlan, Discovery]] = {}

    def __iter__(self) -> Iterator[tuple[SourcePlan, Discovery]]:
        return iter(list(self._open.values()))

    def __contains__(self, key: object) -> bool:
        return key in self._open

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, plans: Iterable[SourcePlan], *, wait: bool) -> dict[Key, Discovery]:
        """Open what is not open yet of the plans that name several sources; :meth:`put_in_place` uses it.

        Args:
            plans: all sources.
            wait: whether a port that is not there is waited for.

        Raises:
            EdgeAacError: one cannot be opened; the others that were opened are closed.
        """
        new: dict[Key, Discovery] = {}
        try:
            for plan in plans:
                if plan.several and plan.key not in self._open:
                    new[plan.key] = open_discovery(plan.source.address, replace(plan.context, wait_for_device=wait))
        except BaseException:
            for discovery in new.values():
                discovery.close()
            raise
        return new

    def put_in_place(self, plans: Mapping[Key, SourcePlan], new: dict[Key, Discovery]) -> list[str]:
        """Look at what other settings say. What is no longer looked at is closed in the background.

        Args:
            plans: all sources.
            new: of :meth:`opened`; it is emptied.

        Returns:
            What changed, in words.
        """
        before, self._open = self._open, {}
        changes = []
        for key, plan in plans.items():
            if plan.several and key in before:
                self._open[key] = plan, before[key][1]
            elif plan.several:
                self._open[key] = plan, new.pop(key)
                changes.append(f"looking at {plan.label}")
        for key, (plan, discovery) in before.items():
            if key not in self._open:
                changes.append(f"no longer looking at {plan.label}")
                threading.Thread(target=discovery.close, name="edge-aac-close", daemon=True).start()
        return changes

    def plan_of(self, found: SourcePlan) -> SourcePlan | None:
        """The plan of a source that was found, by its discovery's settings now; None where nobody looks for it."""
        by = None if found.found_by is None else self._open.get(found.found_by)
        return None if by is None else found.as_configured(by[0])

    def close(self) -> None:
        """Close all of them."""
        for _, discovery in self:
            discovery.close()
