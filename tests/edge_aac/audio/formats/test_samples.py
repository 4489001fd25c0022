"""Plain samples are decoded as libsndfile does, bit for bit."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from edge_aac.audio.formats.layout import SAMPLE_BYTES, Order, samples
from edge_aac.audio.formats.samples import decode_samples


@pytest.mark.parametrize("subtype", sorted(SAMPLE_BYTES))
@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_encoding(subtype: str, order: Order, channels: int) -> None:
    rng = np.random.default_rng(0)
    encoding = samples("WAV", subtype, order, 16_000, channels)
    data = rng.bytes(encoding.block_bytes * 2_000)
    if subtype in {"FLOAT", "DOUBLE"}:
        number = (">" if order == "BIG" else "<") + {"FLOAT": "f4", "DOUBLE": "f8"}[subtype]
        data = rng.normal(0.0, 1.0, 2_000 * channels).astype(number).tobytes()
    expected, _ = soundfile.read(
        io.BytesIO(data),
        dtype="float32",
        always_2d=True,
        format="RAW",
        subtype=subtype,
        endian=order,
        channels=channels,
        samplerate=16_000,
    )
    assert np.array_equal(decode_samples(data, encoding), expected)


def test_nothing() -> None:
    assert decode_samples(b"", samples("WAV", "PCM_24", "LITTLE", 16_000, 2)).shape == (0, 2)
