"""EfficientAT's "mn" taggers of AudioSet: a MobileNetV3 of any width, read from its published files.

Facts from Schmid, Koutini & Widmer, *Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge
Distillation* (arXiv 2211.04772) and its code at commit a425fdc; attribute names follow the published weights, so that
their state dict loads as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from edge_aac.errors import DataError
from quantize.models.efficientat_mel import TaggerMel
from quantize.models.inverted_residual import BLOCKS, STEM_CHANNELS, InvertedResidual, convolved, rounded
from quantize.models.weight_files import load_pickle, only_tensors, some

CLASSES = 527
"""Classes of AudioSet."""

_HOPS = {"5": 160, "15": 480, "20": 640, "25": 800}


_HIDDEN = 1280
_WIDTHS = (0.1, 0.2, 0.4, 0.5, 1.0, 2.0, 3.0, 4.0)


class EfficientAt(nn.Module):
    """The network: log mel spectrograms in, logits of AudioSet's classes and features out.

    Attributes:
        width: factor of the channels of a network of width 1; 0.4 for "mn04".
        feature_size: numbers that the classifier reads.
        mel: the front end.

    Args:
        width: see above.
        convolutional_head: True for the files named "_fc": a 1 × 1 convolution in place of the two linear layers.
        strides: strides of the blocks 2, 4, 7 and 13; the files named "_s2221" and the like have others.
        mel: the front end.
    """

    def __init__(
        self,
        width: float,
        *,
        convolutional_head: bool = False,
        strides: tuple[int, int, int, int] = (2, 2, 2, 2),
        mel: TaggerMel | None = None,
    ) -> None:
        super().__init__()
        self.width = width
        self.mel = mel or TaggerMel()
        channels = rounded(STEM_CHANNELS * width)
        layers: list[nn.Module] = [convolved(1, channels, 3, 2, act=True)]
        changed = iter(strides)
        for block in BLOCKS:
            layer = InvertedResidual(block, channels, width, next(changed) if block.halves else 1)
            layers.append(layer)
            channels = layer.out_channels
        self.feature_size = 6 * channels
        layers.append(convolved(channels, self.feature_size, 1, act=True))
        self.features = nn.Sequential(*layers)
        self.classifier = (
            nn.Sequential(nn.Conv2d(self.feature_size, CLASSES, 1, bias=False), nn.BatchNorm2d(CLASSES))
            if convolutional_head
            # The published numbering: pooling and flattening stood before the linear layers, dropout between them.
            else nn.Sequential(
                nn.Identity(),
                nn.Identity(),
                nn.Linear(self.feature_size, rounded(_HIDDEN * width)),
                nn.Hardswish(),
                nn.Dropout(0.2),
                nn.Linear(rounded(_HIDDEN * width), CLASSES),
            )
        )
        self.convolutional_head = convolutional_head

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Tag log mel spectrograms.

        Args:
            mel: shape (B, mel bins, T), from :attr:`mel`.

        Returns:
            Logits (B, 527), each label's by itself (sigmoid, not softmax), and features (B, feature_size): the last
            block's mean over frequency and time.
        """
        maps = self.features(mel[:, None])
        feature = maps.mean((2, 3))
        if self.convolutional_head:
            return self.classifier(maps).mean((2, 3)), feature
        return self.classifier(feature), feature


def load_efficientat(path: Path) -> EfficientAt:
    """Load published weights, ``mn04_as_mAP_432.pt`` or of another width; its size is told by its tensors.

    The hop, the strides of a convolutional head and the number of mel filters leave no trace in the tensors: they are
    read from the file's name (``_hop_15``, ``_s2221``, ``_mels_64``), as published.

    Raises:
        InputMissingError: the file is not there or cannot be read.
        DataError: it is no file of weights, or of another network.
    """
    state = only_tensors(load_pickle(path), path)
    tagger = _empty(state, path)
    expected = tagger.state_dict()
    missing = [name for name in expected if name not in state]
    foreign = [name for name in state if name not in expected]
    wrong = [name for name in expected if name in state and state[name].shape != expected[name].shape]
    for names, what in ((missing, "lacks"), (foreign, "has besides"), (wrong, "has other sizes of")):
        if names:
            raise DataError(
                f"{path} is no published EfficientAT model of width {tagger.width:g}: it {what} {some(names)}"
            )
    tagger.load_state_dict(state)
    return tagger.eval().requires_grad_(False)


def _empty(state: Mapping[str, Tensor], path: Path) -> EfficientAt:
    """A network of the size that a state has."""
    if any(name.startswith(("layers.", "in_c.")) for name in state):
        raise DataError(f"{path} is a dynamic EfficientAT network (dymn), which is not read: give one of the mn files")
    last = state.get("features.16.0.weight")
    if last is None or not last.ndim:
        raise DataError(f"{path} is no EfficientAT tagger (no features.16.0.weight): give one of its mn files")
    sizes = {6 * rounded(BLOCKS[-1].out * width): width for width in _WIDTHS}
    if (width := sizes.get(last.shape[0])) is None:
        known = ", ".join(f"mn{round(10 * width):02d}" for width in _WIDTHS)
        raise DataError(f"{path} has {last.shape[0]} features, as none of {known} has: give one of those files")
    name = path.name
    strides = re.search(r"_s([12])([12])([12])([12])(?![0-9])", name)
    hop = re.search(r"_hop_(5|15|20|25)(?![0-9])", name)
    mel_bins = re.search(r"_mels_(40|64|256)(?![0-9])", name)
    return EfficientAt(
        width,
        convolutional_head="classifier.5.weight" not in state,
        strides=_four(strides.groups()) if strides else (2, 2, 2, 2),
        mel=TaggerMel(int(mel_bins[1]) if mel_bins else 128, _HOPS[hop[1]] if hop else 320),
    )


def _four(digits: tuple[str, ...]) -> tuple[int, int, int, int]:
    first, second, third, fourth = (int(digit) for digit in digits)
    return first, second, third, fourth


def parameters(tagger: nn.Module) -> int:
    """Number of learnt parameters, statistics of normalisation not counted."""
    return sum(parameter.numel() for parameter in tagger.parameters())
