"""Parts that live beside a session, such as an endpoint for metrics: started before it, closed after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edge_aac.settings.tree import Settings
from edge_aac.streaming.session import Session


class Companion(Protocol):
    """A part that lives beside a session.

    It may read the session from its own threads; to change something it uses
    :meth:`~edge_aac.streaming.session.Session.between_rounds`.
    """

    def start(self, session: Session) -> None:
        """Start; the session has all its channels, and runs soon.

        Raises:
            EdgeAacError: it cannot start; nothing is captioned then.
        """

    def close(self) -> None:
        """End, within a moment: the session has ended. Called once, also where the start of another one failed."""


OpenCompanion = Callable[[Settings], Companion | None]
"""Makes a companion of the settings; None where they have none. It imports what it needs when it is called."""
