"""HTSAT (Chen et al., *HTS-AT*, ICASSP 2022) as Microsoft's CLAP and Pengi run it: a waveform in, one vector out."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from quantize.models.htsat.config import HtsatConfig
from quantize.models.htsat.front_end import LogMel
from quantize.models.htsat.swin import Stage


class PatchEmbedding(nn.Module):
    """Patches by a strided convolution, row by row, and a layer norm."""

    def __init__(self, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, dim, patch, stride=patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, image, image) → (B, grid², D)."""
        return self.norm(self.proj(image).flatten(2).transpose(1, 2))


class Htsat(LogMel):
    """The audio encoder. It is its front end, too, because the published keys lie side by side.

    Args:
        config: sizes.

    Attributes:
        head: loaded and never used, as in the published code.
    """

    def __init__(self, config: HtsatConfig) -> None:
        super().__init__(config.fft, config.hop, config.mel_bins)
        self.config = config
        self.patch_embed = PatchEmbedding(config.patch, config.dim)
        stages = len(config.depths)
        self.layers = nn.ModuleList(
            Stage(
                config.dim << stage,
                config.grid >> stage,
                config.window,
                config.depths[stage],
                config.heads[stage],
                int(config.mlp_ratio * (config.dim << stage)),
                merges=stage < stages - 1,
            )
            for stage in range(stages)
        )
        self.norm = nn.LayerNorm(config.out_dim)
        self.tscam_conv = nn.Conv2d(
            config.out_dim, config.classes, (config.final_grid // config.chunks, 3), padding=(0, 1)
        )
        self.head = nn.Linear(config.classes, config.classes)

    def forward(self, waveform: Tensor) -> Tensor:
        """The embedding (B, out_dim) of waveforms (B, N): the mean over the last tokens."""
        return self.of_log_mel(self.log_mel(self.spectrogram(waveform)))

    def of_log_mel(self, log_mel: Tensor) -> Tensor:
        """The same of a log-mel (B, 1, T, mel_bins) in dB."""
        tokens = self.patch_embed(self.image(self.normalise(log_mel)))
        for layer in self._stages():
            for block in layer.blocks:
                tokens = block(tokens)
            if layer.downsample is not None:
                tokens = layer.downsample(tokens)
        return self.norm(tokens).mean(dim=1)

    def image(self, normalised: Tensor) -> Tensor:
        """The spectrogram as a square: stretched in time, cut into chunks, stacked along frequency.

        Args:
            normalised: (B, 1, T, mel_bins), T at most ``config.frames``.

        Returns:
            (B, 1, image, image); rows ``c * mel_bins`` and on are the mel bins of chunk c, columns are time.
        """
        config = self.config
        # Corners kept, Keys' kernel with a = -0.75, as torch's bicubic.
        stretched = functional.interpolate(
            normalised, (config.frames, config.mel_bins), mode="bicubic", align_corners=True
        )
        chunks = stretched[:, 0].unflatten(1, (config.chunks, config.image))
        return chunks.transpose(2, 3).flatten(1, 2)[:, None]

    def stages(self, waveform: Tensor) -> dict[str, Tensor]:
        """Every stage by its name, for waveforms (B, N).

        Returns:
            spectrogram (B, 1, T, bins), logmel and bn0 (B, 1, T, mel_bins), image (B, 1, image, image); patch_embed,
            ``stageS_blockB``, ``stageS`` (after merging) and norm (B, tokens, width); latent (B, out_dim); clipwise
            (B, classes) and framewise (B, steps, classes), AudioSet's classes as probabilities.
        """
        found = {"spectrogram": self.spectrogram(waveform)}
        found["logmel"] = self.log_mel(found["spectrogram"])
        found["bn0"] = self.normalise(found["logmel"])
        found["image"] = self.image(found["bn0"])
        tokens = found["patch_embed"] = self.patch_embed(found["image"])
        for number, layer in enumerate(self._stages()):
            for index, block in enumerate(layer.blocks):
                tokens = found[f"stage{number}_block{index}"] = block(tokens)
            if layer.downsample is not None:
                tokens = layer.downsample(tokens)
            found[f"stage{number}"] = tokens
        tokens = found["norm"] = self.norm(tokens)
        found["latent"] = tokens.mean(dim=1)
        found["clipwise"], found["framewise"] = self._classes(tokens)
        return found

    def _stages(self) -> list[Stage]:
        return [cast("Stage", layer) for layer in self.layers]

    def _classes(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The token-semantic head: chunks laid side by side in time again, a convolution, a sigmoid."""
        config = self.config
        square = tokens.transpose(1, 2).unflatten(2, (config.final_grid, config.final_grid))
        rows = config.final_grid // config.chunks
        in_time = square.unflatten(2, (-1, rows)).transpose(2, 3).flatten(3, 4)
        logits = self.tscam_conv(in_time)[:, :, 0]
        framewise = torch.sigmoid(logits).transpose(1, 2)
        return torch.sigmoid(logits.mean(dim=2)), framewise.repeat_interleave(self._frames_a_step, dim=1)

    @property
    def _frames_a_step(self) -> int:
        return self.config.patch << (len(self.config.depths) - 1)
