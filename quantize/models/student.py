"""A student captioner out of a teacher: fewer layers, narrower ones, fewer tokens, and an account of every tensor.

Layers are evenly spaced, the first and the last among them (Shleifer & Rush, *Pre-trained Summarization Distillation*,
2020; every second one as in DistilBERT, Sanh et al., 2019, is nearly the same). Units of narrower layers are chosen by
:mod:`quantize.models.width`. What differs in kind (another stem, stride, kernel or group count, a wider layer) starts
afresh.

Two things keep what a copied layer does. DeepNorm's α depends on the number of layers: with another α the branch's last
projection is scaled by α_student / α_teacher, so ``LN(α·x + branch)`` stays. Attention divides by √(head size): with
smaller heads the keys are scaled by √(student's / teacher's), so the scores of the kept units stay.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edge_aac.errors import ConfigError
from quantize.models.captioner import Captioner
from quantize.models.config import BeatsConfig, CaptionerConfig
from quantize.models.stem_axes import stem_sources
from quantize.models.student_report import Origin, StudentReport, TensorOrigin
from quantize.models.width import POSITION, RESIDUAL, VOCABULARY, Axes, Heads, Units, axes_of

_POSITION_CONVOLUTIONS = ("encoder.encoder.pos_conv.0", "postencoder.pos_conv_embed.conv")
_WEIGHT_NORM = ("parametrizations.weight.original0", "parametrizations.weight.original1")


@dataclass(frozen=True)
class Student:
    """A captioner that begins as a part of its teacher."""

    captioner: Captioner
    report: StudentReport


def build_student(
    teacher: Captioner,
    config: CaptionerConfig,
    kept_ids: Sequence[int] | npt.NDArray[np.int64] | Tensor | None = None,
) -> Student:
    """A captioner of ``config``, initialised from ``teacher``, in its mode and on its device.

    What starts afresh takes random numbers from torch's own generator: seed it.

    Args:
        teacher: is not changed.
        config: of the student. What the teacher was built without (BEATs' predictor, a projection of equal widths), the
            student has not either.
        kept_ids: (V',) the teacher's token of each of the student's; None where all stay.

    Raises:
        ConfigError: ``kept_ids`` do not fit the vocabularies, or padding, start and end token would change.
    """
    tokens = _kept_tokens(teacher.config, config, kept_ids)
    student = Captioner(config)
    _leave_out(student, teacher)
    given = {name: tensor.detach().cpu() for name, tensor in teacher.state_dict().items()}
    wanted = _unique_tensors(student)
    construction = _Construction(teacher, student, given, wanted, tokens)
    taken = construction.tensors()
    taken = _drop_lone(wanted, taken)
    origins = []
    with torch.no_grad():
        for name, tensor in wanted.items():
            source, values, factor = taken.get(name, (None, None, 1.0))
            origins.append(_put(name, tensor, source, None if source is None else given[source], values, factor))
    student.to(next(teacher.parameters()).device)
    return Student(student.train(teacher.training), StudentReport(tuple(origins)))


def evenly_spaced(have: int, want: int) -> list[int | None]:
    """Indices of ``want`` among ``have`` layers: the first, the last, and between them as even as can be.

    One layer alone is the first; layers beyond those that there are have none (None).
    """
    if want >= have:
        return [*range(have), *([None] * (want - have))]
    return [round(index * (have - 1) / max(1, want - 1)) for index in range(want)]


_Taken = tuple[str, Tensor, float]
"""Name in the teacher, the values (already cut, not yet multiplied), the factor."""


class _Construction:
    """What the student takes of each tensor, before anything is written."""

    def __init__(
        self,
        teacher: Captioner,
        student: Captioner,
        given: Mapping[str, Tensor],
        wanted: Mapping[str, Tensor],
        tokens: Tensor,
    ) -> None:
        self.teacher, self.student, self.given, self.wanted = teacher, student, given, wanted
        self.sources, stem_axes = self._sources()
        self.axes: dict[str, Axes] = {}
        for source in self.sources.values():
            axes = axes_of(source, stem_axes)
            if axes is not None and given[source].ndim:
                self.axes[source] = self._relabelled(axes)
        dims = teacher.config.beats.dim, student.config.beats.dim
        self.fitting, blocks = self._fitting_convolutions(*dims)
        sizes = {RESIDUAL: dims}
        for name, source in self.sources.items():
            for axis, label in enumerate(self.axes.get(source, ())):
                sizes[label] = given[source].shape[axis], wanted[name].shape[axis]
        self.units = Units(given, self.axes, sizes, self._heads(), blocks, {VOCABULARY: tokens})

    def tensors(self) -> dict[str, _Taken]:
        """Student's name → what it takes; nothing of a tensor that starts afresh."""
        taken: dict[str, _Taken] = {}
        for name, source in self.sources.items():
            values = self._cut(source, self.wanted[name].shape)
            if values is not None:
                taken[name] = source, values, self._factor(source)
        for module in self.fitting:
            for part, values in zip(_WEIGHT_NORM, self._weight_norm(module), strict=True):
                taken[f"{module}.{part}"] = f"{module}.{part}", values, 1.0
        return taken

    def _sources(self) -> tuple[dict[str, str], dict[str, Axes]]:
        """Student's name → teacher's name of what it could take, position convolutions' weights left out."""
        have, want = self.teacher.config, self.student.config
        layers = {
            "encoder.encoder": _beats_layers(have.beats, want.beats),
            "postencoder": evenly_spaced(have.conformer.layers, want.conformer.layers),
            "decoder": evenly_spaced(have.decoder.layers, want.decoder.layers),
        }
        stem, stem_axes = stem_sources(self.teacher.encoder, self.student.encoder, evenly_spaced)
        fresh = _differs_in_kind(have, want)
        sources: dict[str, str] = {}
        for name in self.wanted:
            source: str | None = name
            if match := re.fullmatch(r"(encoder\.encoder|postencoder|decoder)\.layers\.(\d+)\.(.+)", name):
                layer = layers[match[1]][int(match[2])]
                source = None if layer is None else f"{match[1]}.layers.{layer}.{match[3]}"
            elif name.startswith("encoder.patch_embedding."):
                source = stem.get(name)
            parts = any(name.endswith(part) for part in _WEIGHT_NORM)
            if source is not None and source in self.given and not parts and not any(word in name for word in fresh):
                sources[name] = source
        return sources, stem_axes

    def _relabelled(self, axes: Axes) -> Axes:
        """Without a projection behind the stem, its channels are the residual ones."""
        if isinstance(self.student.encoder.post_extract_proj, nn.Identity):
            return tuple(RESIDUAL if label == "encoder.patch" else label for label in axes)
        return axes

    def _heads(self) -> dict[str, Heads]:
        have, want = self.teacher.config, self.student.config
        rooms = {"encoder.encoder": "beats", "postencoder": "conformer", "decoder": "decoder"}
        heads = {}
        for source in self.axes:
            if match := re.fullmatch(r"((encoder\.encoder|postencoder|decoder)\..+attn)\..+", source):
                counts = [getattr(config, rooms[match[2]]).heads for config in (have, want)]
                shapes = [(count, c.beats.dim // count) for count, c in zip(counts, (have, want), strict=True)]
                heads[match[1]] = Heads(shapes[0], shapes[1], shared=rooms[match[2]] == "beats")
        return heads

    def _fitting_convolutions(self, have: int, want: int) -> tuple[list[str], int]:
        """Position convolutions that can be cut, and into how many blocks their groups part the residual channels."""
        fitting, blocks = [], 1
        for module in _POSITION_CONVOLUTIONS:
            one, other = self.teacher.get_submodule(module), self.student.get_submodule(module)
            both = math.lcm(blocks, one.groups)  # type: ignore[arg-type]
            alike = one.groups == other.groups and one.kernel_size == other.kernel_size
            if alike and have >= want and not have % both and not want % both:
                fitting.append(module)
                blocks = both
        return fitting, blocks

    def _cut(self, source: str, shape: Sequence[int]) -> Tensor | None:
        """Those values of a teacher's tensor that fit the student's; None where it must start afresh."""
        values = self.given[source]
        if not values.ndim:
            return values
        if source not in self.axes:
            return None
        labels = self.axes[source]
        if len(labels) < values.ndim:  # a table (heads, head size) whose units are those of all heads
            return self._flat(values, labels[0], shape)
        for axis, label in enumerate(labels):
            have, want = values.shape[axis], shape[axis]
            if label == POSITION:
                values = values.narrow(axis, 0, min(have, want))
            elif label:
                units = self.units.of(label)
                if units is None:
                    return None
                if not _is_whole(units, have):
                    values = values.index_select(axis, units)
            elif have != want:
                return None
        return values

    def _flat(self, values: Tensor, label: str, shape: Sequence[int]) -> Tensor | None:
        units = self.units.of(label)
        return None if units is None else values.flatten()[units].view(*shape)

    def _factor(self, source: str) -> float:
        if re.fullmatch(r"encoder\.encoder\.layers\.\d+\.(?:self_attn\.out_proj|fc2)\.(?:weight|bias)", source):
            have, want = self.teacher.config.beats.layers, self.student.config.beats.layers
            return math.sqrt(math.sqrt(want / have))
        if match := re.fullmatch(r"(.+attn)\.(?:k_proj|linear_k|linear_pos)\.(?:weight|bias)", source):
            heads = self.units.heads[match[1]]
            return math.sqrt(heads.student[1] / heads.teacher[1])
        return 1.0

    def _weight_norm(self, module: str) -> tuple[Tensor, Tensor]:
        """Length (1, 1, K) and direction (D, D / groups, K) whose product is the cut weight."""
        gain, direction = (self.given[f"{module}.{part}"] for part in _WEIGHT_NORM)
        units = self.units.of(RESIDUAL)
        if units is None or _is_whole(units, len(direction)):
            return gain, direction
        groups = self.teacher.get_submodule(module).groups
        assert isinstance(groups, int)
        weight = direction * (gain / direction.norm(dim=(0, 1), keepdim=True))
        rows = weight.view(groups, -1, *weight.shape[1:])
        local = units.view(groups, -1) % rows.shape[1]
        cut = torch.cat([block[kept][:, kept] for block, kept in zip(rows, local, strict=True)])
        length = cut.norm(dim=(0, 1), keepdim=True)
        # A direction of length 0 would make NaN of a tap that is 0.
        return length, torch.where(length > 0, cut, torch.ones_like(cut))


def _kept_tokens(
    have: CaptionerConfig,
    want: CaptionerConfig,
    kept_ids: Sequence[int] | npt.NDArray[np.int64] | Tensor | None,
) -> Tensor:
    old, new = have.decoder, want.decoder
    if kept_ids is None:
        if old.vocab_size != new.vocab_size:
            raise ConfigError(
                f"the student has {new.vocab_size} tokens, the teacher {old.vocab_size}: give the ids that are kept"
            )
        kept_ids = range(old.vocab_size)
    ids = torch.as_tensor(kept_ids, dtype=torch.long)
    if ids.shape != (new.vocab_size,):
        raise ConfigError(
            f"{ids.numel()} ids are kept, but the student's vocab_size is {new.vocab_size}: make them equal"
        )
    if not 0 <= int(ids.min()) <= int(ids.max()) < old.vocab_size:
        raise ConfigError(
            f"a kept id lies outside the teacher's {old.vocab_size} tokens: prune the teacher's tokenizer"
        )
    for name in ("pad_token_id", "start_token_id", "eos_token_id"):
        if int(ids[getattr(new, name)]) != getattr(old, name):
            raise ConfigError(
                f"the student's {name} {getattr(new, name)} is the teacher's token {int(ids[getattr(new, name)])}, "
                f"not its {name} {getattr(old, name)}: set the number that the pruned tokenizer gives it"
            )
    return ids


def _leave_out(student: Captioner, teacher: Captioner) -> None:
    if not hasattr(teacher.encoder, "predictor"):
        del student.encoder.predictor
    beats = student.config.beats
    if isinstance(teacher.encoder.post_extract_proj, nn.Identity) and beats.patch_embed_dim == beats.dim:
        student.encoder.post_extract_proj = nn.Identity()


def _unique_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and stored buffers; of a tensor with several names the first."""
    stored = module.state_dict(keep_vars=True)
    buffers = {name: buffer for name, buffer in module.named_buffers() if name in stored}
    return {**dict(module.named_parameters()), **buffers}


def _beats_layers(have: BeatsConfig, want: BeatsConfig) -> list[int | None]:
    """Of the layers that are run, and of those above them."""
    above = evenly_spaced(have.layers - have.run_layers, want.layers - want.run_layers)
    return [
        *evenly_spaced(have.run_layers, want.run_layers),
        *(None if layer is None else have.run_layers + layer for layer in above),
    ]


def _differs_in_kind(have: CaptionerConfig, want: CaptionerConfig) -> list[str]:
    """Parts of the names of tensors whose shapes may agree although their rows mean something else."""
    fresh = []
    if _bucketing(have.beats) != _bucketing(want.beats):
        fresh.append("relative_attention_bias")
    # A row stands for a moment of the window.
    if have.memory_steps != want.memory_steps or have.downsample_rate != want.downsample_rate:
        fresh.append("cross_embed_positions")
    return fresh


def _bucketing(beats: BeatsConfig) -> tuple[int, int]:
    return beats.relative_buckets, beats.relative_max_distance


def _is_whole(units: Tensor, have: int) -> bool:
    return len(units) == have and bool((units == torch.arange(have)).all())


def _drop_lone(wanted: Mapping[str, Tensor], taken: dict[str, _Taken]) -> dict[str, _Taken]:
    """Without what belongs to a module of which another tensor starts afresh: half a module is none."""
    fresh = {_module_of(name) for name in wanted if name not in taken}
    return {name: entry for name, entry in taken.items() if _module_of(name) not in fresh}


def _module_of(name: str) -> str:
    return name.partition(".parametrizations.")[0] if ".parametrizations." in name else name.rpartition(".")[0]


def _put(
    name: str, tensor: Tensor, source: str | None, whole: Tensor | None, values: Tensor | None, factor: float
) -> TensorOrigin:
    trained = isinstance(tensor, nn.Parameter)
    if source is None or values is None or whole is None:
        return TensorOrigin(name, None, "fresh", tensor.numel(), 0, 1.0, trained)
    whole_taken = torch.equal(values, whole)
    values = values if factor == 1.0 else values * factor
    target = tensor[: len(values)] if tensor.ndim else tensor
    target.copy_(values)
    origin: Origin = "copied" if whole_taken else "cut"
    if values.numel() < tensor.numel():
        origin = "extended"
    return TensorOrigin(name, source, origin, tensor.numel(), values.numel(), factor, trained)
