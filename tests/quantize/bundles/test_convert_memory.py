"""Memory while a graph is written and checked: one copy of the weights, mapped from their file, and not much more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch

SIDE, LAYERS = 3600, 4

# In a process of its own: peaks are those of a process, and the libraries' own share is measured first.
PROGRAM = """
import json, sys
from functools import partial
from pathlib import Path
import torch
from torch import nn
from quantize.bundles.bundle_writer import export_graph
from quantize.models.graph_modules import GraphSpec
from quantize.bundles.onnx_writer import keep_no_freed_tensors

def peak(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

def make(side, layers, weights=None):
    with torch.device("meta" if weights else "cpu"):
        module = nn.Sequential(*(nn.Linear(side, side, bias=False) for _ in range(layers))).eval()
    if weights:
        module.load_state_dict(torch.load(weights, mmap=True, weights_only=True), assign=True)
    inputs = {"x": torch.ones(2, side)}
    return GraphSpec(module, inputs, ("y",), {"x": {0: "n"}, "y": {0: "n"}}, lambda: iter((inputs,)))

keep_no_freed_tensors()
weights, side, layers, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
export_graph("small", partial(make, 8, 1), folder, print)  # whatever is loaded at first use is loaded
Path("/proc/self/clear_refs").write_text("5")
before = peak("VmRSS")
described = export_graph("large", partial(make, side, layers, weights), folder, print)
print(json.dumps({"grown": peak("VmHWM") - before, "files": [file["file"] for file in described["external_data"]]}))
"""


def test_a_graph_costs_less_than_twice_its_weights(tmp_path: Path) -> None:
    weights = tmp_path / "weights.bin"
    generator = torch.Generator().manual_seed(0)
    state = {f"{i}.weight": torch.randn(SIDE, SIDE, generator=generator) / SIDE**0.5 for i in range(LAYERS)}
    torch.save(state, weights)
    size = weights.stat().st_size
    command = [sys.executable, "-c", PROGRAM, str(weights), str(SIDE), str(LAYERS), str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["files"] == ["large.fp32.onnx.data"]
    assert 0.5 * size < result["grown"] < 1.8 * size, f"{result['grown'] / size:.2f} times the weights"
