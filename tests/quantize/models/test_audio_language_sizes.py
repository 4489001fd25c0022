"""The published sizes: as many keys and numbers as the published files are known to hold, without their weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import CLIPTextConfig, GPT2Config

from quantize.models.clap.clapcap import ClapcapNetwork, MapperSizes
from quantize.models.clap.microsoft import ClapNetwork, ClapSettings
from quantize.models.htsat.config import HtsatConfig
from quantize.models.pengi.network import PengiNetwork, PengiSizes, PromptTowerSizes
from quantize.models.pengi.pengi import PengiSettings

DIM = 1024


def _clap() -> nn.Module:
    return ClapNetwork(HtsatConfig(), GPT2Config(), DIM)


def _clapcap() -> nn.Module:
    return ClapcapNetwork(HtsatConfig(), DIM, MapperSizes(40, 40, 8), GPT2Config())


def _pengi(prompt: PromptTowerSizes | None) -> nn.Module:
    return PengiNetwork(PengiSizes(HtsatConfig(), DIM, prompt, GPT2Config(), 40, 40, 4))


def _numbers(network: nn.Module) -> dict[str, int]:
    """Key → how many numbers, as an old ``transformers`` writes them: with tables of windows, masks and positions."""
    found = {name: tensor.numel() for name, tensor in network.state_dict().items()}
    found |= {name: buffer.numel() for name, buffer in network.named_buffers()}
    return found


@pytest.mark.parametrize(
    ("build", "keys", "millions"),
    [
        (_clap, 381, 159.4),
        (_clapcap, 476, 226.9),
        (lambda: _pengi(PromptTowerSizes(CLIPTextConfig(), 512, DIM)), 681, 323.4),
        (lambda: _pengi(None), 477, 226.9),
    ],
    ids=["clap", "clapcap", "pengi", "pengi without text tower"],
)
def test_keys_and_parameters(build: Callable[[], nn.Module], keys: int, millions: float) -> None:
    with torch.device("meta"):
        network = build()
    assert len(_numbers(network)) == keys
    assert sum(one.numel() for one in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


def test_the_file_of_clap_holds_exactly_these_numbers() -> None:
    """172 448 101 in single precision: the size of the published file, less its pickle."""
    with torch.device("meta"):
        network = _clap()
    assert sum(_numbers(network).values()) == 172_448_101


def test_seven_seconds_fit_into_the_image() -> None:
    length = ClapSettings().clip_length(HtsatConfig())
    assert (length.sample_rate, length.samples) == (44_100, 308_700)
    assert HtsatConfig().frames_of(length.samples) == 965
    assert PengiSettings().clip_length(HtsatConfig()) == length
