"""Who may use the GPU: its device files, and the groups that they belong to.

On a Jetson ``/dev/nvhost-*`` and ``/dev/nvmap`` are of group ``video``. Since JetPack 6 CUDA opens
``/dev/dri/renderD*``, too, of group ``render``, whose number differs from board to board: a container knows it by
number alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edge_aac.accounts import group_name, user_name

NODES = ("dev/nvidia[0-9]*", "dev/nvidiactl", "dev/nvhost-gpu", "dev/nvhost-ctrl-gpu", "dev/nvmap", "dev/nvgpu/igpu0/*")
RENDER_NODES = ("dev/dri/renderD*",)
_OF_A_JETSON = ("dev/nvmap", "dev/nvhost-ctrl-gpu", "dev/nvgpu", "etc/nv_tegra_release")
_OF_A_CONTAINER = (".dockerenv", "run/.containerenv")
_READ_WRITE = 0o6
_NOBODYS = (0, 65_534)
"""Root's group, and the one that stands for all that a user name space (``PrivateUsers=``) does not know."""


def gpu_nodes(root: Path = Path("/")) -> list[Path]:
    """Device files that CUDA opens, sorted; of a machine whose GPU is no Jetson's without ``/dev/dri``.

    Args:
        root: folder that holds ``dev`` and ``etc``.
    """
    nodes = _there(root, NODES)
    if nodes and any((root / name).exists() for name in _OF_A_JETSON):
        nodes += _there(root, RENDER_NODES)
    return nodes


def closed_nodes(nodes: Sequence[Path]) -> list[Path]:
    """Those that this user may not read and write."""
    return [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]


def access_mend(closed: Sequence[Path], root: Path = Path("/")) -> str:
    """What opens device files to this user, as a sentence without its full stop.

    Args:
        closed: device files that this user may not open; one at least.
        root: folder that holds ``.dockerenv`` where this is a container.
    """
    groups = sorted({node.stat().st_gid for node in closed if _opens_to_its_group(node)})
    if not groups:
        return f"let a group of this user read and write {shown(closed[0], root)}: see `ls -l {shown(closed[0], root)}`"
    if any((root / name).exists() for name in _OF_A_CONTAINER):
        options = " ".join(f"--group-add {number}" for number in groups)
        return f"start the container with `{options}`"
    names = [group_name(number) for number in groups]
    return f"run `sudo usermod -aG {','.join(names)} {user_name()}`, then log in again"


def access_fault(root: Path = Path("/")) -> str:
    """Which device file of the GPU this user may not use and what mends it, as a clause; empty where none is closed."""
    closed = closed_nodes(gpu_nodes(root))
    if not closed:
        return ""
    return f"this user may not use {shown(closed[0], root)}: {access_mend(closed, root)}"


def _there(root: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted({path for pattern in patterns for path in root.glob(pattern)})


def shown(node: Path, root: Path) -> str:
    """The path of a device file, as the machine itself has it."""
    return f"/{node.relative_to(root)}"


def _opens_to_its_group(node: Path) -> bool:
    """Whether being in its group helps, and the group can be named."""
    found = node.stat()
    return found.st_gid not in _NOBODYS and (found.st_mode >> 3) & _READ_WRITE == _READ_WRITE
