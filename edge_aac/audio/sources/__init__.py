"""Where sound comes from: one file a scheme."""

from __future__ import annotations
