"""What a user may choose in place of what a bundle says that answers prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from edge_aac.errors import ConfigError, UsageError, first_complaint
from edge_aac.models.prompted_manifest import PromptedManifest


def question_of(manifest: PromptedManifest, words: str) -> tuple[str, str | None]:
    """The prompt that a question, or the name of a task, stands for, and the name of its task where it has one.

    Raises:
        ConfigError: it cannot be asked.
    """
    try:
        return manifest.prompt_of(None, words) if words in manifest.prompts else manifest.prompt_of(words, None)
    except UsageError as error:
        raise ConfigError(f"unusable choice: ask: {error}") from error


def chosen_manifest(manifest: PromptedManifest, choices: Mapping[str, Any]) -> PromptedManifest:
    """What a bundle says, with a user's choices.

    Raises:
        ConfigError: a choice is unusable.
    """
    rules = {name: value for name, value in choices.items() if name not in {"prompt", "ask"}}
    table = manifest.model_dump(by_alias=True)
    table["decoding"] = {**table["decoding"], **rules}
    if "prompt" in choices:
        table["prompt"] = choices["prompt"]
    try:
        return PromptedManifest.model_validate(table)
    except ValidationError as error:
        raise ConfigError(f"unusable choice: {first_complaint(error)}") from error
