"""Values as they stand in a TOML file, with what is secret hidden."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from pydantic import SecretBytes, SecretStr

from edge_aac.settings.fields import Setting

HIDDEN = "********"

# Up to the last @: a password may hold any character, though it should not.
_USER_INFO = re.compile(r"(?<=://)\S*@")
# The place of a secret is none, and that there is none must be seen.
_SECRET_OPTION = re.compile(
    r"([?&][^=&#\s]*(?:password|passwd|secret|token|key|auth|pwd)[^=&#\s]*=)(?!file:|env:|none(?:[&#\s]|$))[^&#\s]*",
    re.I,
)
_CONTROLS = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def toml_value(value: Any) -> str:
    """Write a value as TOML; values that TOML has no type for become text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(toml_value(each) for each in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(str(name))} = {toml_value(each)}' for name, each in value.items())}}}"
    if isinstance(value, (SecretStr, SecretBytes)):
        return toml_value(HIDDEN)
    # JSON's escapes are TOML's; TOML wants that of the delete character too, and terminals obey some that both allow.
    text = json.dumps(str(value), ensure_ascii=False)
    return _CONTROLS.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def shown(value: Any, setting: Setting | None) -> str:
    """A value as it may be printed: secrets and the user information of addresses are hidden.

    Args:
        value: value that was given, right or wrong.
        setting: setting that the value is for; None where that is unknown, so that nothing of it may be shown in full.
    """
    if setting is not None and setting.secret:
        return toml_value(HIDDEN)
    return toml_value(_masked(value, tables=setting is not None and setting.public))


def without_secrets(text: str) -> str:
    """An address without its user information and without the values of options that sound secret."""
    return _SECRET_OPTION.sub(rf"\g<1>{HIDDEN}", _USER_INFO.sub(f"{HIDDEN}@", text))


def _masked(value: Any, *, tables: bool = False) -> Any:
    if isinstance(value, (str, PurePath)):
        return without_secrets(str(value))
    if isinstance(value, Mapping):
        # Which of its keys are secret is not known here, unless the setting says that none is.
        return {name: _masked(each, tables=True) if tables else HIDDEN for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(each, tables=tables) for each in value]
    return value


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)
