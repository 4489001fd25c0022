"""How a graph is run."""

from __future__ import annotations
