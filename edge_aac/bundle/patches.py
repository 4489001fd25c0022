"""How a bundle's stem cuts a window into patches of time, as its manifest states it."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import Field, model_validator

from edge_aac.bundle.section import Count, Section

STEM = "stem"
"""Role of the graph that each patch goes through by itself: patches (P, frames, 128) → vectors (P, D)."""

WINDOW_FRAMES = 998
"""Frames of a window's filter bank: 25 ms each, 10 ms from one to the next, in 10 s."""


class PatchRule(Section):
    """Patches of the filter bank, for bundles whose encoder reads one vector a patch.

    Attributes:
        frames: number of frames of a patch; 98 are 1 s of sound.
        hop_frames: frames from the start of a patch to the start of the next.
    """

    frames: Count = Field(ge=1, le=WINDOW_FRAMES)
    hop_frames: Count = Field(ge=1, le=WINDOW_FRAMES)

    @model_validator(mode="after")
    def _fills_a_window(self) -> PatchRule:
        if self.hop_frames > self.frames:
            raise ValueError(f"patches of {self.frames} frames every {self.hop_frames} leave sound out")
        if (WINDOW_FRAMES - self.frames) % self.hop_frames:
            raise ValueError(
                f"patches of {self.frames} frames every {self.hop_frames} do not fill a window of {WINDOW_FRAMES}"
            )
        return self

    @property
    def count(self) -> int:
        """Number of patches of a window."""
        return (WINDOW_FRAMES - self.frames) // self.hop_frames + 1


def check_stem(patches: PatchRule | None, roles: Collection[str]) -> None:
    """Refuse a stem without a rule of what it hears, and a rule without a stem.

    Args:
        patches: the manifest's rule.
        roles: roles of the manifest's graphs.

    Raises:
        ValueError: one is there without the other.
    """
    if patches is None and STEM in roles:
        raise ValueError(f"there is a {STEM} graph, but no patches that say how a window is cut for it")
    if patches is not None and STEM not in roles:
        raise ValueError(f"there are patches, but no {STEM} graph that hears them")
