"""Text towers of the published sizes with random weights: what optimum makes of them, beside what edge-aac makes.

    python -m benchmarks.optimum_towers bert FOLDER          one of gpt2, clip, bert, t5
    python -m benchmarks.optimum_towers bert FOLDER --int8   its INT8 forms

Prints, for six texts and for one: processor milliseconds of one thread beside the first form's in the same round, the
lowest cosine to the first form, and megabytes; of the exports also seconds, the growth of peak memory, and the largest
difference from torch. The forms run in turn, so that other load hits all alike.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command_line import at_least, run
from edge_aac.engines.onnx_runtime import OnnxRuntimeEngine
from quantize.device.cpu.optimum_form import optimum_int8
from quantize.device.gate import lowest_cosine
from quantize.graphs.int8 import dynamic_int8

Arrays = Mapping[str, np.ndarray[Any, np.dtype[np.int64]]]
TOWERS = ("gpt2", "clip", "bert", "t5")
_LENGTHS = (24, 20, 16, 12, 8, 5)
_CLIP_END = 49_407


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tower", choices=TOWERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--runs", type=at_least(1), default=12)
    arguments = parser.parse_args()
    folder = arguments.folder / arguments.tower
    folder.mkdir(parents=True, exist_ok=True)
    texts = tower_texts(arguments.tower)
    exported = folder / "ours.onnx"
    result: dict[str, Any] = {"tower": arguments.tower}
    if not exported.is_file() or not arguments.int8:
        result["exports"] = exports(arguments.tower, folder, texts)
    paths = {"ours": exported, "optimum": folder / "optimum.onnx"}
    if arguments.int8:
        paths = {"fp32": exported, "ours": folder / "int8.onnx", "optimum": folder / "optimum_int8.onnx"}
        dynamic_int8(exported, paths["ours"])
        optimum_int8(exported, paths["optimum"])
    result["times"] = {"6 texts": compare(paths, texts, arguments.runs), "1 text": compare(paths, one_text(texts), 12)}
    print(json.dumps(result, indent=1))


def tower_texts(tower: str) -> dict[str, Any]:
    """Token ids and mask of six texts of different lengths, as rows of one batch."""
    random = np.random.default_rng(0)
    mask = (np.arange(max(_LENGTHS)) < np.array(_LENGTHS)[:, None]).astype(np.int64)
    ids = random.integers(5, 30_000, mask.shape) * mask
    if tower == "clip":
        ids[np.arange(len(ids)), mask.sum(axis=1) - 1] = _CLIP_END
    return {"token_ids": ids, "attention_mask": mask}


def one_text(texts: Arrays) -> dict[str, Any]:
    """One of them without padding."""
    length = int(texts["attention_mask"][3].sum())
    return {name: rows[3:4, :length] for name, rows in texts.items()}


def compare(paths: Mapping[str, Path], given: Arrays, runs: int) -> dict[str, Any]:
    """Of each form; see above."""
    engines = {name: OnnxRuntimeEngine(path, 1) for name, path in paths.items()}
    taken: dict[str, list[float]] = {name: [] for name in engines}
    found: dict[str, Any] = {}
    for _ in range(runs + 1):
        for name, engine in engines.items():
            started = time.process_time()
            (found[name],) = engine.run(given).values()
            taken[name].append(1e3 * (time.process_time() - started))
    (reference, first), *_ = taken.items()
    return {
        name: {
            "median_ms": round(statistics.median(times[1:]), 1),
            "ratio": round(statistics.median(mine / its for mine, its in zip(times[1:], first[1:], strict=True)), 3),
            "fastest_ratio": round(min(times[1:]) / min(first[1:]), 3),
            "min_cosine": round(lowest_cosine(found[reference], found[name]), 5),
            "megabytes": round(sum(file.stat().st_size for file in _files(paths[name])) / 1e6, 1),
        }
        for name, times in taken.items()
    }


def _files(path: Path) -> Sequence[Path]:
    return [file for end in ("", ".data", "_data") if (file := path.with_name(path.name + end)).is_file()]


def exports(tower: str, folder: Path, texts: Arrays) -> dict[str, Any]:
    """Write the tower both ways."""
    import torch
    from optimum.exporters.onnx import OnnxConfig, export
    from optimum.utils import NormalizedTextConfig

    from quantize.bundles.onnx_writer import OPSET, write_onnx
    from quantize.models.graph_modules import text_embedder_spec

    torch.manual_seed(0)
    module: Any = tower_module(tower).eval()
    config = next(part.config for part in module.modules() if hasattr(part, "config"))
    tensors = {name: torch.from_numpy(rows) for name, rows in texts.items()}
    with torch.no_grad():
        want = module(**tensors).numpy()

    class Tower(OnnxConfig):  # type: ignore[misc]
        NORMALIZED_CONFIG_CLASS = NormalizedTextConfig
        inputs = {name: {0: "texts", 1: "tokens"} for name in texts}
        outputs = {"embedding": {0: "texts"}}

        def generate_dummy_inputs(self, framework: str = "pt", **_: Any) -> Mapping[str, Any]:
            return tensors if framework == "pt" else texts

    def by_optimum(path: Path) -> None:
        module.config = config
        export(module, Tower(config), path, opset=OPSET)

    ways: dict[str, Callable[[Path], object]] = {
        "ours": lambda path: write_onnx(text_embedder_spec(module, *tensors.values()), path),
        "optimum": by_optimum,
    }
    found = {}
    for name, write in ways.items():
        path = folder / f"{name}.onnx"
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before, started = _peak_mb(), time.process_time()
        write(path)
        found[name] = {
            "seconds": round(time.process_time() - started, 1),
            "peak_growth_mb": round(_peak_mb() - before),
            "max_abs_difference": float(np.abs(OnnxRuntimeEngine(path, 1).run(texts)["embedding"] - want).max()),
        }
    return found


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))


def tower_module(tower: str) -> Any:
    """The published sizes: CLAP's GPT-2 and BERT, Pengi's CLIP, INSTRUCTOR-base's T5 with three tokens unpooled."""
    from torch import Tensor, nn
    from transformers import BertConfig, CLIPTextConfig, GPT2Config, T5Config, T5EncoderModel

    from quantize.models.clap.graphs import EndTokenGraph, FirstTokenGraph
    from quantize.models.clap.microsoft import TextTower
    from quantize.models.clap.microsoft_2022 import BertTower
    from quantize.models.instructor import TextEmbedder
    from quantize.models.pengi.network import PromptTower, PromptTowerSizes

    class Prompt(nn.Module):
        """The embedding of Pengi's prompts alone."""

        def __init__(self) -> None:
            super().__init__()
            clip = CLIPTextConfig(vocab_size=_CLIP_END + 1, hidden_size=512, intermediate_size=2048)
            self.tower = PromptTower(PromptTowerSizes(clip, 512, 1024))

        def forward(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
            hidden = self.tower.base(input_ids=token_ids, attention_mask=attention_mask).last_hidden_state
            at = token_ids.argmax(dim=-1)[:, None, None].expand(-1, 1, hidden.shape[-1])
            return self.tower.projection(self.tower.clip_text_projection(hidden.gather(1, at)[:, 0]))

    if tower == "gpt2":
        return EndTokenGraph(TextTower(GPT2Config(), 1024))
    if tower == "bert":
        return FirstTokenGraph(BertTower(BertConfig(), 1024))
    if tower == "clip":
        return Prompt()
    sizes = T5Config(vocab_size=32_128, d_model=768, d_kv=64, num_heads=12, d_ff=3072, num_layers=12, use_cache=False)
    return TextEmbedder(T5EncoderModel(sizes), nn.Linear(768, 768, bias=False), 3)


if __name__ == "__main__":
    run(main)
