"""How surely sounds are named, against how often they are right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from quantize.data.everyday.lexicon import Lexicon
from quantize.evaluation.everyday.calibration import cross_fitted, fitted
from quantize.evaluation.everyday.judging import right_names
from quantize.evaluation.everyday.truth import JudgedWindow
from quantize.evaluation.statistics import Floats, bootstrap, wilson

BINS = 10
_SCALE = 10_000
"""Confidences are summed as whole numbers of this part."""


def reliability(lexicon: Lexicon, windows: Sequence[JudgedWindow]) -> dict[str, Any]:
    """Expected calibration error, and the bins that it is made of.

    The confidences of all named sounds, of windows whose truth is known, lie in :data:`BINS` bins of the same width.
    The error is the mean over the names of the distance between a bin's mean confidence and its share of right names
    (Naeini et al., 2015; Guo et al., 2017). A name is right that is heard or a coarser one of what is heard. Its
    interval is of windows drawn again; as few names in a bin are off by chance, it lies rather too high than too low.

    Returns:
        ``names`` (their number), ``names_without_confidence`` (those that the bundle's own list did not find),
        ``expected_calibration_error``, ``intervals``, ``bins`` from the lowest that has a name: from, to, names, mean
        confidence, share of right names, interval. ``calibration``: the scale and bias that would make them right as
        often as they say (:class:`quantize.evaluation.everyday.calibration.Platt`), and the error that is left when
        every second window has the numbers that fit the others. Of windows without any confidence, the reason in
        ``left_out``.
    """
    rows, unsaid = [], 0
    said: list[tuple[float, bool, bool]] = []
    for number, window in enumerate(windows):
        if window.kind == "absent" or window.confidences is None:
            continue
        of_window: list[tuple[float, bool]] = []
        for name, right in right_names(lexicon, window).items():
            if name not in window.confidences:
                unsaid += 1
                continue
            confidence = min(max(window.confidences[name], 0.0), 1.0)
            of_window.append((confidence, right))
            said.append((confidence, right, number % 2 == 0))
        rows.append(_binned(of_window).ravel())
    table = np.array(rows, np.int64).reshape(-1, 3 * BINS)
    names, sure, right_sums = table.sum(axis=0).reshape(3, BINS)
    if not names.sum():
        return {"left_out": "the bundle does not tell how sure it is of what it names, or names nothing"}
    error = float(expected_calibration_error(table.sum(axis=0)))
    return {
        "names": int(names.sum()),
        "names_without_confidence": unsaid,
        "expected_calibration_error": round(error, 4),
        "calibration": _calibration(said),
        "intervals": {
            "expected_calibration_error": [round(v, 4) for v in bootstrap(table, expected_calibration_error)]
        },
        "bins": [
            {
                "from": place / BINS,
                "to": (place + 1) / BINS,
                "names": int(names[place]),
                "mean_confidence": round(float(sure[place]) / _SCALE / int(names[place]), 4),
                "right": round(int(right_sums[place]) / int(names[place]), 4),
                "interval": [round(value, 4) for value in wilson(int(right_sums[place]), int(names[place]))],
            }
            for place in range(BINS)
            if names[place]
        ],
    }


def _binned(names: Iterable[tuple[float, bool]]) -> npt.NDArray[np.int64]:
    """Confidence of each name, and whether it is right → (3, BINS): names, their confidences in 1/10000, right ones."""
    sums = np.zeros((3, BINS), np.int64)
    for confidence, right in names:
        sums[:, min(int(confidence * BINS), BINS - 1)] += (1, round(confidence * _SCALE), int(right))
    return sums


def _calibration(said: Sequence[tuple[float, bool, bool]]) -> dict[str, float]:
    """The scale and bias that fit all names; of each half, calibrated by the other, the error."""
    sure, right, halves = (np.array(column) for column in zip(*said, strict=True))
    best, turned = fitted(sure, right), cross_fitted(sure, right, halves)
    error = float(expected_calibration_error(_binned(zip(turned, right, strict=True)).ravel()))
    return {
        "scale": round(best.scale, 4),
        "bias": round(best.bias, 4),
        "expected_calibration_error": round(error, 4),
    }


def expected_calibration_error(sums: npt.NDArray[np.int64]) -> Floats:
    """The error of summed rows (…, 3 · BINS): names, their confidences in 1/10000, right ones, by bin: (…,)."""
    names, sure, right = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, BINS), -2, 0)
    error: Floats = np.abs(sure / _SCALE - right).sum(axis=-1) / np.maximum(names.sum(axis=-1), 1)
    return error
