"""Kinds of model: windows in, words out."""

from __future__ import annotations
