"""Checkpoints of CLAP, clapcap and Pengi: which system a file holds, told by its keys, and what lies beside it.

Microsoft publishes each as one pickle with the weights under ``model``, beside whatever the training had (an
optimiser's state). What the original code takes from the hub while it runs lies here in folders beside the file, or
beside ``configs/`` where the file is in there: ``gpt2/``, CLIP's, and, for other sizes, ``htsat_config.json``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from torch import Tensor, nn

from edge_aac.errors import ConfigError, DataError, InputMissingError
from quantize.models.config import config_from
from quantize.models.htsat.config import HTSAT_FILE, HtsatConfig, read_htsat_config
from quantize.models.weight_files import load_pickle, only_tensors, read_state, some

CONFIGS = "configs"
_DATA_PARALLEL = "module."
# Masks that old versions of transformers wrote: bytes, booleans or floats, and no weights.
_CAUSAL_MASK = re.compile(r"\.h\.\d+\.attn\.(bias|masked_bias)$")
_POSITIONS = "embeddings.position_ids"
_WINDOW_TABLES = ("attn_mask", "relative_position_index")
_COUNTER = "num_batches_tracked"
_BESIDE_WEIGHTS = ("model", "state_dict")

_Settings = TypeVar("_Settings")


@dataclass(frozen=True)
class System:
    """A published system.

    Attributes:
        name: in messages.
        keys: beginnings of keys that its state has, all of them.
        advice: what reads it, or what to give in its place.
    """

    name: str
    keys: tuple[str, ...]
    advice: str


PENGI = System("Pengi", ("audio_encoder.base.htsat.", "caption_decoder."), "load it with quantize.load_pengi")
CLAP = System(
    "CLAP of 2023",
    ("audio_encoder.base.htsat.", "caption_encoder.base.h."),
    "load it with quantize.load_clap",
)
CLAP_2022 = System(
    "CLAP of 2022",
    ("audio_encoder.base.conv_block1.", "caption_encoder.base.encoder.layer."),
    "load it with quantize.load_clap",
)
CLAPCAP = System("clapcap", ("clap.base.htsat.", "gpt.", "clap_project."), "load it with quantize.load_clapcap")
LAION_CLAP = System(
    "LAION's CLAP in the layout of transformers",
    ("audio_model.audio_encoder.", "text_model."),
    "load its folder with quantize.load_clap",
)
_SYSTEMS = (
    PENGI,
    CLAP,
    CLAPCAP,
    LAION_CLAP,
    CLAP_2022,
    System(
        "LAION's CLAP in its first layout",
        ("audio_branch.", "text_branch."),
        "give the folder that transformers has it in, this one is not read",
    ),
)


@dataclass(frozen=True)
class PublishedFile:
    """A checkpoint that was read.

    Attributes:
        path: of the weights.
        state: its tensors, mapped from the file, without what is no weight.
    """

    path: Path
    state: dict[str, Tensor]

    @property
    def root(self) -> Path:
        """The folder that what lies beside the weights is looked for in."""
        folder = self.path.parent
        return folder.parent if folder.name == CONFIGS else folder

    def htsat_config(self) -> HtsatConfig:
        """Sizes of HTSAT; see :func:`quantize.models.htsat.config.read_htsat_config`."""
        path = self.root / HTSAT_FILE
        return read_htsat_config(path if path.is_file() else None)

    def settings(self, kind: type[_Settings], name: str) -> _Settings:
        """What a ``.yml`` of this name holds of a dataclass's fields, beside the weights or in ``configs/``.

        A table ``dataset_config`` within it counts as a part of it. What is not there has its default.

        Raises:
            InputMissingError, DataError: the file cannot be read, or is no table in YAML.
            ConfigError: a setting is unusable.
        """
        places = (self.path.parent / name, self.root / CONFIGS / name)
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            return config_from(kind, {})
        table = _read_yaml(path)
        nested = table.get("dataset_config")
        table = {**table, **(nested if isinstance(nested, dict) else {})}
        known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
        try:
            return config_from(kind, {key: value for key, value in table.items() if key in known})
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    def part(self, name: str) -> Path:
        """The folder of a language model, named as on the hub: ``gpt2``, ``openai/clip-vit-base-patch16``.

        Raises:
            InputMissingError: there is none.
        """
        folder = self.root / Path(name).name
        if not folder.is_dir():
            raise InputMissingError(
                f"{self.root} has no folder {folder.name} with the tokenizer of {name}: put tokenizer.json there"
            )
        return folder

    def size(self, key: str, axis: int) -> int:
        """A size that a tensor tells.

        Raises:
            DataError: it is not there, or has too few axes.
        """
        tensor = self.state.get(key)
        if tensor is None or tensor.ndim <= axis:
            raise DataError(f"{self.path} lacks {key}, or has it in another shape: fetch it again")
        return tensor.shape[axis]

    def layers(self, prefix: str) -> int:
        """Number of layers whose keys begin with ``prefix`` and a number."""
        pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
        return len({match[1] for key in self.state if (match := pattern.match(key))})


def published_file(path: Path, names: Sequence[str], system: System) -> PublishedFile:
    """Read the checkpoint of a system.

    Args:
        path: the file; or a folder that has one of ``names`` in it or in ``configs/``, of which the first is taken.
        names: as published.
        system: what must be in it.

    Raises:
        InputMissingError: there is no such file, or it cannot be read.
        DataError: it is damaged, holds code, or is of another system; the message names keys.
    """
    file = _found(path, names)
    state = read_weights(file)
    demand(system, state, file)
    return PublishedFile(file, state)


def _found(path: Path, names: Sequence[str]) -> Path:
    if not path.is_dir():
        return path
    found = next((place for name in names for place in (path / name, path / CONFIGS / name) if place.is_file()), None)
    if found is None:
        raise InputMissingError(f"{path} has no {' or '.join(names)}: give the file of weights, or its folder")
    return found


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a pickle, or of a folder in the layout of transformers, mapped and never run.

    Of a pickle those under ``model`` (or ``state_dict``) are taken, else the whole; a data-parallel ``module.`` before
    each name is cut off, and GPT-2's masks and CLIP's position numbers are left out.

    Raises:
        InputMissingError: it is not there or cannot be read.
        DataError: it is damaged, or holds code or what is no tensor.
    """
    if path.is_dir():
        return read_state(path)
    content = load_pickle(path)
    within = next((content[key] for key in _BESIDE_WEIGHTS if isinstance(content.get(key), Mapping)), content)
    state = only_tensors(within, path)
    if state and all(name.startswith(_DATA_PARALLEL) for name in state):
        state = {name.removeprefix(_DATA_PARALLEL): tensor for name, tensor in state.items()}
    return {
        # Files all in float32 count training steps in it, too.
        name: tensor.long() if name.endswith(_COUNTER) else tensor
        for name, tensor in state.items()
        if not _CAUSAL_MASK.search(name) and not name.endswith(_POSITIONS)
    }


def system_of(state: Mapping[str, Tensor]) -> System | None:
    """The system that a state is of, told by its keys; None of an unknown one."""
    return next(
        (system for system in _SYSTEMS if all(any(name.startswith(key) for name in state) for key in system.keys)),
        None,
    )


def demand(system: System, state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse the state of another system.

    Raises:
        DataError: it names the keys that tell, and what reads that system.
    """
    found = system_of(state)
    if found == system:
        return
    if found is None:
        raise DataError(
            f"{path} is no {system.name}: its keys are {some(sorted(state)) or 'none'}, and none begins with "
            f"{' or none with '.join(key for key in system.keys if not any(name.startswith(key) for name in state))}: "
            "give another file"
        )
    raise DataError(f"{path} is {found.name}, as its keys {', '.join(found.keys)}… tell: {found.advice}")


def check_window_tables(module: nn.Module, file: PublishedFile) -> dict[str, Tensor]:
    """The state without HTSAT's tables of windows, which follow from its sizes.

    Args:
        module: has them as buffers.
        file: may have them, as integers or floats.

    Raises:
        DataError: they are of other sizes than the module's: the configuration is another model's.
    """
    ours = dict(module.named_buffers())
    kept = {}
    for name, tensor in file.state.items():
        if not name.endswith(_WINDOW_TABLES):
            kept[name] = tensor
        elif name not in ours:
            raise DataError(
                f"{file.path} has {name}, where {HTSAT_FILE} or the published sizes have no such table: put the right "
                f"{HTSAT_FILE} beside it"
            )
        elif tensor.shape != ours[name].shape or not torch.equal(tensor.to(ours[name].dtype), ours[name]):
            raise DataError(
                f"{file.path} has {name} of {tuple(tensor.shape)}, which is not that of an image of windows as "
                f"{HTSAT_FILE} or the published sizes describe it: put the right {HTSAT_FILE} beside it"
            )
    return kept


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputMissingError(f"cannot read {path} ({error.strerror}): correct its permissions") from error
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is no YAML ({reason}): fetch it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}, not a table: fetch it again")
    return content
