"""Settings: one frozen section a room, units in the names, validated once.

Precedence: a flag, then the environment (``EDGE_AAC_…``), then the user's TOML file, then the machine's, key by key,
then the defaults below. A file that is named with ``--config`` stands in place of both.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_aac.bundle.manifest import DecodingMethod
from edge_aac.bundle.store import DEFAULT_BUNDLE
from edge_aac.errors import ConfigError, InputMissingError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CaptionerSettings(_Section):
    """What captions, and how.

    Attributes:
        bundle: name of a built-in or pulled bundle, or path of a folder.
        backend: what runs its graphs; "auto" the fastest that this machine has.
        threads: CPU threads of a graph; 0 = as many as pay.
        candidates: drawn a window; None = the bundle's own default, here and below.
        seed: of the candidates; the same sound, bundle and seed give the same captions.
        method: how captions are decoded: "nucleus", "greedy" or "beam".
        max_length: longest caption in tokens, start and end counted.
        likelihood_weight, similarity_weight: of the two scores that candidates are ranked by; without similarity, none
            is computed.
        least_familiarity: windows that score lower are told to hold an unknown sound, or none.
        fluency_check: a caption that is no whole sentence, or says something twice, wins only where all are such.
    """

    bundle: str = DEFAULT_BUNDLE
    backend: Literal["auto", "tensorrt", "onnxruntime"] = "auto"
    threads: int = Field(default=0, ge=0, le=256)
    candidates: int | None = Field(default=None, ge=1, le=64)
    seed: int = Field(default=0, ge=0, lt=2**63)
    method: DecodingMethod | None = None
    max_length: int | None = Field(default=None, ge=2)
    likelihood_weight: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    similarity_weight: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    fluency_check: bool = True
    least_familiarity: float | None = Field(default=None, allow_inf_nan=False)


class StreamSettings(_Section):
    """How a stream is listened to.

    Attributes:
        device: the source's address, see ``edge-aac devices``.
        node: name of this device in the records.
        hop_s: seconds from one 10 s window to the next.
        silence_dbfs: windows below this level are not captioned.
        least_score: captions with a lower hybrid score are not published; None publishes all.
        familiar_only: windows in which nothing familiar is heard are not told of, not even as an unknown sound.
        same_similarity: captions of overlapping windows whose text embeddings are at least this close are one event;
            None = as close as the bundle has it.
    """

    device: str = "mic0"
    node: str = Field(default_factory=socket.gethostname, min_length=1)
    hop_s: float = Field(default=2.0, ge=0.1, le=3600.0)
    silence_dbfs: float = Field(default=-70.0, ge=-120.0, le=0.0)
    least_score: float | None = Field(default=None, allow_inf_nan=False)
    familiar_only: bool = False
    same_similarity: float | None = Field(default=None, ge=-1.0, le=1.0)


class Settings(_Section):
    """All sections."""

    captioner: CaptionerSettings = CaptionerSettings()
    stream: StreamSettings = Field(default_factory=StreamSettings)


_NO_DEFAULTS: Mapping[str, Mapping[str, Any]] = {}


def load_settings(
    config: Path | None,
    given: Mapping[str, Mapping[str, Any]],
    defaults: Mapping[str, Mapping[str, Any]] = _NO_DEFAULTS,
) -> Settings:
    """Merge a file's settings with those given by flags or environment, and validate the whole.

    Args:
        config: a TOML file; None looks for ``/etc/edge-aac/config.toml`` and ``~/.config/edge-aac/config.toml``, which
            overrules it key by key.
        given: section → setting → value; None where neither flag nor variable gave one.
        defaults: section → setting → value that a verb has in place of the sections' own, below any file.

    Raises:
        InputMissingError: the file that was named does not exist.
        ConfigError: not TOML, an unknown section or setting, or a value outside its range.
    """
    table: dict[str, Any] = {section: dict(values) for section, values in defaults.items()}
    origins: dict[tuple[str, ...], Path] = {}
    for path in [config] if config else _default_files():
        for section, values in _read(path).items():
            before = table.get(section)
            origins[(section,)] = path
            if isinstance(values, dict):
                origins.update({(section, name): path for name in values})
                table[section] = {**before, **values} if isinstance(before, dict) else values
            else:
                table[section] = values
    for section, values in given.items():
        present = {name: value for name, value in values.items() if value is not None}
        before = table.get(section, {})
        # What is no table stays as it is, so that the validation below complains of it.
        if present and isinstance(before, dict):
            table[section] = {**before, **present}
    try:
        return Settings.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        source = _origin(first["loc"], origins) if _lies_in(first["loc"], given) else None
        origin = f" (in {source})" if source else ""
        raise ConfigError(f"setting {where}{origin}: {first['msg']}, but it is {first['input']!r}") from error


def _lies_in(location: tuple[int | str, ...], given: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the file, not a flag or variable, gave the value at ``location``."""
    section, *names = (str(part) for part in location)
    return not names or given.get(section, {}).get(names[0]) is None


def _origin(location: tuple[int | str, ...], origins: Mapping[tuple[str, ...], Path]) -> Path | None:
    """The file that the value at ``location`` came from; None where no file has it."""
    names = tuple(str(part) for part in location)
    return origins.get(names[:2]) or origins.get(names[:1])


def _default_files() -> list[Path]:
    """The machine's file and the user's, as far as they are there; the later one overrules."""
    folders = [Path("/etc")]
    with suppress(RuntimeError):  # a user without a home, as in many containers
        folders.append(Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"))
    return [path for folder in folders if _is_file(path := folder / "edge-aac" / "config.toml")]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise InputMissingError(f"cannot read {path} ({error.strerror}): correct its permissions") from error


def _read(path: Path) -> dict[str, Any]:
    if not _is_file(path):
        raise InputMissingError(f"no configuration file {path}: correct --config or leave it out")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise InputMissingError(f"cannot read {path} ({error.strerror}): correct its permissions") from error
