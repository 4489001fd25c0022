"""Everyday sounds by their names in AudioSet: what a tagger hears, as events, and how captions tell of them."""

from __future__ import annotations
