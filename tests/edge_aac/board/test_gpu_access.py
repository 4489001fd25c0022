"""Whom the GPU's device files let in, on boards that are folders of a test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from edge_aac.board.gpu_access import access_fault, access_mend, closed_nodes, gpu_nodes
from edge_aac.doctor import gpu
from edge_aac.doctor.contract import Context, Finding
from edge_aac.errors import DeviceError
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import load_settings
from tests.edge_aac.engines.tensor_rt.trt_cases import install

VIDEO, RENDER = 44, 60_104
"""Debian's number of the group, and one that no group here has, as in a container."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to other groups")


def _jetson(root: Path, *, container: bool = False) -> Path:
    for name, group in (("nvmap", VIDEO), ("nvhost-gpu", VIDEO), ("dri/renderD128", RENDER), ("dri/card0", VIDEO)):
        node = root / "dev" / name
        node.parent.mkdir(parents=True, exist_ok=True)
        node.touch()
        os.chown(node, 0, group)
        node.chmod(0o660)
    if container:
        (root / ".dockerenv").touch()
    root.chmod(0o755)
    return root


def _as_stranger(monkeypatch: pytest.MonkeyPatch, *groups: int) -> None:
    """From now on files are judged as the kernel would for a user in these groups: root opens everything."""

    def access(path: os.PathLike[str], mode: int) -> bool:
        found = os.stat(path)
        bits = found.st_mode >> 3 if found.st_gid in groups else found.st_mode
        return bits & mode == mode

    monkeypatch.setattr(os, "access", access)


def test_a_jetson_s_gpu_needs_its_render_node_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JetPack 6: a user of group video alone gets no further than "no CUDA-capable device"."""
    root = _jetson(tmp_path)
    names = [str(node.relative_to(root)) for node in gpu_nodes(root)]
    assert names == ["dev/nvhost-gpu", "dev/nvmap", "dev/dri/renderD128"]
    _as_stranger(monkeypatch, VIDEO)
    assert [node.name for node in closed_nodes(gpu_nodes(root))] == ["renderD128"]
    _as_stranger(monkeypatch, VIDEO, RENDER)
    assert closed_nodes(gpu_nodes(root)) == [] and access_fault(root) == ""


def test_another_gpu_needs_no_render_node(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidiactl", "dri/renderD128"):
        (tmp_path / "dev" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "dev" / name).touch()
    assert [node.name for node in gpu_nodes(tmp_path)] == ["nvidia0", "nvidiactl"]


def test_the_mend_names_groups_and_in_a_container_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, container = _jetson(tmp_path / "board"), _jetson(tmp_path / "container", container=True)
    _as_stranger(monkeypatch)
    assert access_fault(board).startswith("this user may not use /dev/nvhost-gpu: run `sudo usermod -aG video,60104 ")
    fault = access_fault(container)
    assert fault.endswith(f"start the container with `--group-add {VIDEO} --group-add {RENDER}`")
    _as_stranger(monkeypatch, VIDEO)
    assert access_fault(container).endswith(f"/dev/dri/renderD128: start the container with `--group-add {RENDER}`")


def test_a_node_of_root_alone_is_no_matter_of_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _jetson(tmp_path)
    for group, mode in ((VIDEO, 0o600), (0, 0o660), (65_534, 0o660)):
        os.chown(root / "dev/nvmap", 0, group)
        (root / "dev/nvmap").chmod(mode)
        _as_stranger(monkeypatch, VIDEO, RENDER)
        closed = closed_nodes(gpu_nodes(root))
        assert [node.name for node in closed] == ["nvmap"]
        assert "ls -l /dev/nvmap" in access_mend(closed, root) and "usermod" not in access_mend(closed, root)


def test_doctor_names_the_closed_nodes_and_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _jetson(tmp_path, container=True)
    _as_stranger(monkeypatch, VIDEO)
    (part,) = gpu.check(Context(load_settings(None, Layer({})), root=root))
    found = list(part.run())
    assert (
        Finding(
            "warning", "this user may not use /dev/dri/renderD128", f"start the container with `--group-add {RENDER}`"
        )
        in found
    )


def test_what_cuda_says_of_no_gpu_comes_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engines' own error: CUDA says the same of a GPU that is not there and of one that is closed to the user."""
    installed = install(monkeypatch)
    installed.cuda.failing["cudaGetDeviceCount"] = "cudaErrorNoDevice"
    cuda_memory = sys.modules["edge_aac.engines.tensor_rt.cuda_memory"]
    with pytest.raises(DeviceError, match=r"video and render.*--group-add \$\(stat -c %g /dev/dri/renderD128\)"):
        cuda_memory.Cuda()
    closed = "this user may not use /dev/dri/renderD128: start the container with `--group-add 104`"
    monkeypatch.setattr(cuda_memory, "access_fault", lambda: closed)
    with pytest.raises(DeviceError, match=f"no CUDA GPU can be used here .*: {closed}"):
        cuda_memory.Cuda()
