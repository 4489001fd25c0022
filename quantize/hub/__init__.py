"""Published weights: what is known by name, how it is fetched and verified, and what becomes of it."""

from __future__ import annotations
