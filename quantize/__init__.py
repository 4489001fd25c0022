"""Build-time side of edge-aac: train, shrink and export captioners. Needs the ``train`` extra (torch)."""

from __future__ import annotations
