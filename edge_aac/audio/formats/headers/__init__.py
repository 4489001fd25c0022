"""The headers of sound files: one file a family of containers."""

from __future__ import annotations

from edge_aac.audio.formats.headers.au import au_layout
from edge_aac.audio.formats.headers.caf import caf_layout
from edge_aac.audio.formats.headers.iff import aiff_layout, svx_layout
from edge_aac.audio.formats.headers.matlab import mat4_layout, mat5_layout
from edge_aac.audio.formats.headers.riff import riff_layout, w64_layout
from edge_aac.audio.formats.headers.samplers import mpc_layout, voc_layout, wve_layout, xi_layout
from edge_aac.audio.formats.headers.workstation import (
    avr_layout,
    htk_layout,
    ircam_layout,
    nist_layout,
    paris_layout,
    pvf_layout,
)
from edge_aac.audio.formats.layout import Layout, Look

_READERS = (
    riff_layout,
    w64_layout,
    aiff_layout,
    svx_layout,
    au_layout,
    caf_layout,
    avr_layout,
    ircam_layout,
    nist_layout,
    paris_layout,
    pvf_layout,
    mat4_layout,
    mat5_layout,
    voc_layout,
    xi_layout,
    wve_layout,
    mpc_layout,
    # It has no magic number.
    htk_layout,
)


def layout_of(look: Look) -> Layout | None:
    """Reads the header of a container whose layout is known here; None of another.

    Raises:
        HeaderError: the header says what cannot be.
    """
    for read in _READERS:
        if (layout := read(look)) is not None:
            return layout
    return None
