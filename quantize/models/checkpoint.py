"""Published weights → our modules: BEATs–Conformer–BART captioners and bare BEATs checkpoints.

The layout is that of ``slseanwu/beats-conformer-bart-audio-captioner``: ``config.json`` beside ``model.safetensors`` or
``pytorch_model.bin``, and, where somebody put them there, ``conformer_config.json`` and ``beats_config.json``; the
published repository has neither, so the sizes of the published system stand in. Weights are mapped from the file, not
read into memory, and no pickled code is ever run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from edge_aac.errors import ConfigError, DataError
from quantize.models.beats import Beats
from quantize.models.captioner import Captioner
from quantize.models.config import CaptionerConfig
from quantize.models.published_config import beats_config, captioner_config_of
from quantize.models.weight_files import load_pickle, only_tensors, read_state, some

# Weight norm was rewritten in torch 2.0; files of both spellings are about, and some hold both.
_WEIGHT_NORM = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
_Module = TypeVar("_Module", bound=nn.Module)


class StateMismatchError(DataError):
    """Weights do not fit their module.

    Attributes:
        missing: keys that the module has and the file lacks.
        unexpected: keys that the file has and the module lacks.
        misshapen: key → (shape in the file, shape in the module).
    """

    def __init__(
        self,
        source: Path,
        missing: list[str],
        unexpected: list[str],
        misshapen: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
    ) -> None:
        self.missing, self.unexpected, self.misshapen = missing, unexpected, misshapen
        shapes = [f"{name} is {have}, expected {want}" for name, (have, want) in misshapen.items()]
        parts = [
            f"{len(entries)} {kind} ({some(entries)})"
            for kind, entries in (("missing", missing), ("unexpected", unexpected), ("misshapen", shapes))
            if entries
        ]
        super().__init__(
            f"the weights in {source} do not fit the model that its configuration describes: keys " + "; ".join(parts)
        )


def load_captioner_weights(folder: Path) -> Captioner:
    """A captioner of the published layout, in evaluation mode, its weights mapped from the file.

    Raises:
        InputMissingError: no such folder, or it lacks its configuration or weights.
        ConfigError: it is configured to do what this code does not.
        DataError: the file is damaged or holds code; :class:`StateMismatchError` where keys or shapes do not fit.
    """
    config, has_predictor = captioner_config_of(folder)
    model = unfilled(lambda: Captioner(config), folder)
    _leave_out(model.encoder, has_predictor)
    fit_state(model, read_state(folder), folder)
    model.lm_head.weight = model.decoder.embed_tokens.weight
    _compute_conformer_positions(model, config)
    return model.eval()


def load_beats(path: Path) -> Beats:
    """A bare BEATs checkpoint: a file that holds ``cfg`` (its sizes) and ``model`` (its weights).

    Where it was not fine-tuned, it has no ``predictor``. All its layers are run.

    Raises:
        InputMissingError: no such file.
        ConfigError, DataError: as :func:`load_captioner_weights`.
    """
    content = load_pickle(path)
    cfg, state = content.get("cfg"), content.get("model")
    if not isinstance(cfg, Mapping) or not isinstance(state, Mapping):
        raise DataError(f"{path} is no BEATs checkpoint: it lacks 'cfg' or 'model'")
    config, has_predictor = beats_config(cfg, path)
    model = unfilled(lambda: Beats(config), path)
    _leave_out(model, has_predictor)
    fit_state(model, only_tensors(state, path), path)
    return model.eval()


def _leave_out(model: Beats, has_predictor: bool) -> None:
    """What the original code does not build for these sizes, and so no checkpoint of them holds."""
    if not has_predictor:
        del model.predictor
    if model.config.patch_embed_dim == model.config.dim:
        model.post_extract_proj = nn.Identity()


def unfilled(build: Callable[[], _Module], source: Path) -> _Module:
    """A module on "meta", without memory for its weights.

    Raises:
        ConfigError: the sizes that ``source`` gives make no module.
    """
    try:
        with torch.device("meta"):
            return build()
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # Which of them depends on the setting, and on the layer that stumbles over it.
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"the sizes in the configuration of {source} make no model ({reason}): fetch it again"
        ) from error


def fit_state(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Give a module (on any device, "meta" too) the tensors of ``state``, as float32 and without copying float32.

    Both spellings of weight norm are taken. Of tensors that the module shares between names, one name is enough;
    where there are several they must agree.

    Raises:
        StateMismatchError: keys are missing, unexpected or of another shape.
        DataError: copies of a shared tensor differ, or one that should be floating-point is not.
    """
    wanted = module.state_dict(keep_vars=True)
    given = {_current_spelling(name): tensor for name, tensor in state.items()}
    for names in _shared_names(wanted):
        present = [name for name in names if name in given]
        for name in present[1:]:
            if not _same(given[name], given[present[0]]):
                raise DataError(f"{source}: {present[0]} and {name} must be the same tensor, but they differ")
        given.update({name: given[present[0]] for name in names if present})
    for name in wanted.keys() - given.keys():
        if name.endswith("num_batches_tracked"):  # counts training steps; older files have none
            given[name] = torch.zeros((), dtype=torch.long)
    misshapen = {
        name: (tuple(given[name].shape), tuple(wanted[name].shape))
        for name in wanted
        if name in given and given[name].shape != wanted[name].shape
    }
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    if missing or unexpected or misshapen:
        raise StateMismatchError(source, missing, unexpected, misshapen)
    if other := [name for name in wanted if given[name].is_floating_point() != wanted[name].is_floating_point()]:
        raise DataError(f"{source}: of another type than the model's are {some(other)}: get the float weights")
    module.load_state_dict(
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in given.items()}, assign=True
    )


def _current_spelling(name: str) -> str:
    head, _, last = name.rpartition(".")
    return f"{head}.{_WEIGHT_NORM[last]}" if last in _WEIGHT_NORM else name


def _shared_names(state: Mapping[str, Tensor]) -> list[list[str]]:
    names: dict[int, list[str]] = defaultdict(list)
    for name, tensor in state.items():
        names[id(tensor)].append(name)
    return [group for group in names.values() if len(group) > 1]


def _same(one: Tensor, other: Tensor) -> bool:
    """Of tensors that torch saved as one, the file holds one copy, and nothing needs to be read to compare them."""
    if one.shape == other.shape and one.data_ptr() == other.data_ptr() and one.stride() == other.stride():
        return True
    return one.shape != other.shape or torch.equal(one, other)  # shapes are complained of elsewhere


def _compute_conformer_positions(model: Captioner, config: CaptionerConfig) -> None:
    """The Conformer's sinusoids are no weights: on "meta" they were not computed, so they are now."""
    positions = model.postencoder.embed_positions
    positions.pe = None
    positions.extend_pe(torch.zeros(1, config.conformer.max_positions))
