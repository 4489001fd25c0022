"""Clips: sound of events that is saved as FLAC files, where that is switched on."""

from __future__ import annotations
