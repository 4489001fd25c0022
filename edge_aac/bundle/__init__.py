"""The bundle: a folder that holds all that a model needs."""

from __future__ import annotations
