"""Sound that is written as plain samples: integers, floats, mu-law and A-law."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import soundfile

from edge_aac.audio.formats.decoded import Frames, no_frames
from edge_aac.audio.formats.layout import Encoding
from edge_aac.audio.formats.sound_bytes import SoundBytes

_BLOCK_S = 1.0
FLOATS = ("FLOAT", "DOUBLE")
"""Encodings whose scale is the writer's."""
_COMPANDED = ("ULAW", "ALAW")
_NUMBERS = {"PCM_S8": "i1", "PCM_16": "i2", "PCM_32": "i4", "FLOAT": "f4", "DOUBLE": "f8"}


def decode_samples(data: bytes, encoding: Encoding) -> Frames:
    """Decodes whole frames of plain samples.

    Args:
        data: a multiple of the encoding's block.
        encoding: one whose frames need no context.

    Returns:
        Float32, shape (n, channels); integers are scaled to full scale 1.
    """
    order = ">" if encoding.order == "BIG" else "<"
    subtype = encoding.subtype
    if subtype in _COMPANDED:
        samples = _companded(subtype)[np.frombuffer(data, np.uint8)]
    elif subtype == "PCM_U8":
        samples = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / np.float32(128)
    elif subtype == "PCM_24":
        triples = np.frombuffer(data, np.uint8).reshape(-1, 3)
        words = np.zeros((len(triples), 4), np.uint8)
        words[:, 1:] = triples if order == "<" else triples[:, ::-1]
        samples = words.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    elif subtype in FLOATS:
        samples = np.frombuffer(data, order + _NUMBERS[subtype]).astype(np.float32)
    else:
        number = np.dtype(order + _NUMBERS[subtype])
        samples = np.frombuffer(data, number).astype(np.float32) / np.float32(2 ** (8 * number.itemsize - 1))
    return np.asarray(samples, np.float32).reshape(-1, encoding.channels)


@cache
def _companded(subtype: str) -> Frames:
    """The value of each of the 256 bytes, as libsndfile decodes it, float32, shape (256,)."""
    values, _ = soundfile.read(
        io.BytesIO(bytes(range(256))), dtype="float32", format="RAW", subtype=subtype, channels=1, samplerate=8_000
    )
    return np.asarray(values, np.float32)


class DecodedSamples:
    """Plain samples as a :class:`~edge_aac.audio.formats.decoded.Decoded`.

    Args:
        sound: bytes of the sound.
        encoding: how it is written.
        patient: whether each block is waited for until it is a second long; else frames are given as they arrive.
    """

    def __init__(self, sound: SoundBytes, encoding: Encoding, *, patient: bool) -> None:
        self.rate = encoding.rate
        self.channels = encoding.channels
        self.is_float = encoding.subtype in FLOATS
        self._sound = sound
        self._encoding = encoding
        self._block_bytes = max(1, round(_BLOCK_S * encoding.rate)) * encoding.block_bytes
        self._patient = patient
        self._partial = b""

    @property
    def followed_by_file(self) -> bool:
        """Whether another sound file follows; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        return self._sound.followed_by_file

    def read(self) -> Frames:
        """Gives the next frames; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        read = self._sound.read if self._patient else self._sound.read_some
        frame_bytes = self._encoding.block_bytes
        while data := read(self._block_bytes):
            data = self._partial + data
            whole = len(data) // frame_bytes * frame_bytes
            self._partial = data[whole:]
            if whole:
                return decode_samples(data[:whole], self._encoding)
        return no_frames(self.channels)

    def finish(self) -> None:
        """Judges what is missing; see :class:`~edge_aac.audio.formats.decoded.Decoded`."""
        self._sound.finish()

    def close(self) -> None:
        """Nothing is held."""
