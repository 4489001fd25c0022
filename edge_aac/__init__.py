"""edge-aac: audio captions on the device. A microphone in, plain words out.

Importing the package imports nothing heavy; see ``docs/python.md`` for the pieces to build with.
"""

from __future__ import annotations

__version__ = "0.1.0"
