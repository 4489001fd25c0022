"""A window in, a caption out; no threads, no devices."""

from __future__ import annotations
