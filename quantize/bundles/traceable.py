"""Towers of Hugging Face's transformers as the ONNX exporter of its package optimum traces them.

transformers builds masks and caches in ways that torch cannot trace; optimum's exporter knows for each version what to
put in their place. Its own way of writing the file holds the weights three times (docs/performance.md), so the trace
alone is done in its hands and :mod:`quantize.bundles.onnx_writer` writes them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from transformers import PretrainedConfig

from edge_aac.errors import DeviceError
from quantize.models.graph_modules import GraphSpec

_OF_TEXTS = {"token_ids", "attention_mask"}


def traceable(spec: GraphSpec) -> AbstractContextManager[Any]:
    """While this is held, the module of a graph can be traced; what is no text tower of transformers always can.

    Raises:
        DeviceError: it is one, and optimum is not installed.
    """
    configs = (getattr(part, "config", None) for part in spec.module.modules())
    config = next((found for found in configs if isinstance(found, PretrainedConfig)), None)
    if config is None or not spec.inputs.keys() >= _OF_TEXTS:
        return nullcontext()
    try:
        from optimum.exporters.onnx import OnnxConfig
        from optimum.utils import NormalizedTextConfig
    except (ImportError, RuntimeError) as error:  # RuntimeError: of older transformers, where a part cannot be imported
        why = " ".join(str(error).split())
        raise DeviceError(
            f"a {config.model_type} is exported with optimum, which is not installed ({why}): "
            "install edge-aac's train extra"
        ) from error

    class TowerConfig(OnnxConfig):  # type: ignore[misc]
        """A graph's inputs and outputs, as optimum wants to be told them."""

        NORMALIZED_CONFIG_CLASS = NormalizedTextConfig

        @property
        def inputs(self) -> dict[str, dict[int, str]]:
            return {name: dict(spec.dynamic_axes.get(name, {})) for name in spec.inputs}

        @property
        def outputs(self) -> dict[str, dict[int, str]]:
            return {name: dict(spec.dynamic_axes.get(name, {})) for name in spec.outputs}

    held: AbstractContextManager[Any] = TowerConfig(config).patch_model_for_export(spec.module)
    return held
