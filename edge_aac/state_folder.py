"""Where edge-aac keeps what it must remember from one run to the next."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of a service's state, where a service manager gives one (``$STATE_DIRECTORY``); else of the user's."""
    # systemd gives several folders with colons between them.
    if service := environment.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(service)
    return user_state_folder(environment)


def user_state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """``$XDG_STATE_HOME/edge-aac``, or ``~/.local/state/edge-aac``. A relative XDG_STATE_HOME is none, as its
    specification has it.

    Raises:
        RuntimeError: this user has no home.
    """
    state = environment.get("XDG_STATE_HOME", "")
    root = Path(state) if os.path.isabs(state) else Path("~/.local/state").expanduser()
    return root / "edge-aac"
