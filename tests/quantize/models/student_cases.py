"""Students and what they are compared with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from quantize.models.captioner import Captioner
from quantize.models.config import CaptionerConfig
from quantize.models.student import Student
from tests.quantize.models.published_layout import scramble

FRAMES = 240


def changed(config: CaptionerConfig, room: str, **changes: Any) -> CaptionerConfig:
    return replace(config, **{room: replace(getattr(config, room), **changes)})


def narrowed(config: CaptionerConfig, **changes: Any) -> CaptionerConfig:
    return changed(config, "beats", dim=8, **changes)


def scrambled(config: CaptionerConfig) -> Captioner:
    torch.manual_seed(3)
    model = Captioner(config).eval()
    scramble(model)
    return model


@torch.no_grad()
def outputs(model: Captioner, frames: int = FRAMES) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    fbank = torch.randn(2, frames, 128, generator=generator)
    memory, _, embedding = model.encode(fbank)
    return [memory, embedding, model.logits(torch.tensor([[2, 7, 9, 4], [2, 5, 5, 8]]), memory)]


def same_outputs(one: Captioner, other: Captioner, atol: float = 0.0) -> bool:
    pairs = zip(outputs(one), outputs(other), strict=True)
    return all(torch.allclose(a, b, atol=atol, rtol=1e-4 if atol else 0.0) for a, b in pairs)


def origins_of(student: Student) -> dict[str, str]:
    return {tensor.name: tensor.origin for tensor in student.report.tensors}


def accounts_for_all(student: Student) -> None:
    report = student.report
    assert report.parameters == sum(parameter.numel() for parameter in student.captioner.parameters())
    assert sum(numbers for _, numbers in report.counts().values()) == report.parameters
    named = {tensor.name for tensor in report.tensors}
    assert {name for name, _ in student.captioner.named_parameters()} <= named
    stored = set(student.captioner.state_dict())
    aliases = {"lm_head.weight", *(name for name in stored if "relative_attention_bias" in name)}
    assert stored - aliases <= named <= stored
