"""Checks of everything that a bug report needs: each does what it checks."""

from __future__ import annotations
