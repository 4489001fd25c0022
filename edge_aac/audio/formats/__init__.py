"""What sound files promise about themselves, and whether they keep it."""

from __future__ import annotations
