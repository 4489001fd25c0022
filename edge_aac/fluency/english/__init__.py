"""The rules of English that captions are held against."""

from __future__ import annotations
