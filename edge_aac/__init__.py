"""edge-aac: audio captions on the device. A microphone in, plain words out.

Importing the package imports nothing heavy; see ``docs/python.md`` for the pieces to build with.
"""

from __future__ import annotations

import os

# ONNX Runtime's builds for Linux, from 1.29 on, keep a device id and report every session to their maker, unless this
# stands in the environment before they are loaded. Whoever wants that sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
