"""Names of users and groups, their numbers where the system has no name for them."""

from __future__ import annotations

import grp
import os
import pwd


def group_name(number: int) -> str:
    """The name of a group."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def user_name() -> str:
    """The user of this process; ``$USER`` may be another one's under sudo."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
