"""The settings tree: sections registered by what they configure, merged from files, environment and flags."""

from __future__ import annotations
