"""Sizes of HTSAT. The published ones are the defaults; ``htsat_config.json`` beside the weights holds others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_aac.errors import ConfigError
from quantize.models.config import above_zero, at_least_one, config_from
from quantize.models.weight_files import read_json

HTSAT_FILE = "htsat_config.json"

_FRONT_END = {"window_size": "fft", "hop_size": "hop", "mel_bins": "mel_bins"}
_MODEL = {
    "spec_size": "image",
    "patch_size": "patch",
    "num_classes": "classes",
    "embed_dim": "dim",
    "depths": "depths",
    "num_heads": "heads",
    "window_size": "window",
    "mlp_ratio": "mlp_ratio",
}


@dataclass(frozen=True)
class HtsatConfig:
    """Front end and Swin transformer. The filter bank comes with the weights, so no band is a setting.

    Attributes:
        fft: samples of a frame, and of its Fourier transform.
        hop: samples from frame to frame.
        mel_bins: columns of the filter bank.
        image: side of the square that chunks of the spectrogram are stacked to, in pixels.
        patch: side of a patch, in pixels; patches do not overlap.
        dim: width of the first stage; each further one is twice as wide.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        window: side of an attention window, in tokens.
        mlp_ratio: width of the MLPs in widths of their stage.
        classes: AudioSet's, of the head that scores them.
    """

    fft: int = 1024
    hop: int = 320
    mel_bins: int = 64
    image: int = 256
    patch: int = 4
    dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    window: int = 8
    mlp_ratio: float = 4.0
    classes: int = 527

    def __post_init__(self) -> None:
        at_least_one(self, "fft", "hop", "mel_bins", "image", "patch", "dim", "window", "classes")
        above_zero(self, "mlp_ratio")
        if not self.depths or len(self.depths) != len(self.heads) or min(*self.depths, *self.heads) < 1:
            raise ConfigError(f"depths {list(self.depths)} and num_heads {list(self.heads)} must count the same stages")
        if self.image % self.mel_bins:
            raise ConfigError(f"spec_size {self.image} is no multiple of the {self.mel_bins} mel_bins")
        if self.image % (self.patch << (len(self.depths) - 1)):
            raise ConfigError(
                f"an image of {self.image} cannot be halved {len(self.depths) - 1} times in patches of {self.patch}"
            )
        for stage, heads in enumerate(self.heads):
            grid, width = self.grid >> stage, self.dim << stage
            if width % heads:
                raise ConfigError(f"stage {stage} is {width} wide, which is no multiple of its {heads} heads")
            if grid > self.window and grid % self.window:
                raise ConfigError(
                    f"stage {stage} has a grid of {grid}, which is no multiple of the window {self.window}"
                )
        if self.final_grid % self.chunks:
            raise ConfigError(f"the last grid of {self.final_grid} is no multiple of the image's {self.chunks} chunks")

    @property
    def chunks(self) -> int:
        """Pieces of the spectrogram that are stacked along the image's frequency axis."""
        return self.image // self.mel_bins

    @property
    def frames(self) -> int:
        """Frames that the image has room for; fewer are stretched to as many."""
        return self.image * self.chunks

    @property
    def grid(self) -> int:
        """Side of the first stage's square of tokens."""
        return self.image // self.patch

    @property
    def final_grid(self) -> int:
        """The same of the last stage."""
        return self.grid >> (len(self.depths) - 1)

    @property
    def out_dim(self) -> int:
        """Width of the last stage, and of the embedding."""
        return self.dim << (len(self.depths) - 1)

    def frames_of(self, samples: int) -> int:
        """Frames of so many samples; the first and the last are centred on the ends."""
        return samples // self.hop + 1


def read_htsat_config(path: Path | None) -> HtsatConfig:
    """Sizes from ``htsat_config.json``; the published ones where there is no such file.

    Raises:
        InputMissingError, DataError: the file cannot be read, or is not JSON.
        ConfigError: its sizes make no network, or its patches overlap.
    """
    if path is None:
        return HtsatConfig()
    table = read_json(path)
    parts = {name: table.get(name, {}) for name in ("frontend", "model")}
    if not all(isinstance(part, dict) for part in parts.values()):
        raise ConfigError(f"{path}: frontend and model must be tables: fetch it again")
    sizes: dict[str, Any] = {}
    for part, names in ((parts["frontend"], _FRONT_END), (parts["model"], _MODEL)):
        sizes.update({ours: part[theirs] for theirs, ours in names.items() if theirs in part})
    patch = sizes.get("patch", HtsatConfig().patch)
    if (stride := parts["model"].get("patch_stride", [patch, patch])) != [patch, patch]:
        raise ConfigError(f"{path}: patch_stride is {stride!r}; only that of patches side by side is supported")
    try:
        config: HtsatConfig = config_from(HtsatConfig, sizes)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return config
