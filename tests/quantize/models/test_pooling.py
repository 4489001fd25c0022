"""How the memory becomes the audio embedding: the published mean, or a learnt weight of each step."""

from __future__ import annotations

from dataclasses import replace

import onnxruntime as ort
import pytest
import torch

from edge_aac.errors import ConfigError
from quantize.models.captioner import Captioner
from quantize.models.config import captioner_config
from quantize.models.student import build_student
from tests.quantize.models.published_layout import SMALL

ATTENTIVE = replace(SMALL, pooling="attention")
MEMORY = torch.randn(2, 9, SMALL.beats.dim, generator=torch.Generator().manual_seed(0))


def captioner(seed: int = 0) -> Captioner:
    torch.manual_seed(seed)
    return Captioner(ATTENTIVE).eval()


def test_without_a_word_it_is_the_published_mean() -> None:
    assert captioner_config({}).pooling == "mean"
    torch.manual_seed(0)
    published = Captioner(SMALL).eval()
    assert not [name for name in published.state_dict() if "pooling" in name]
    torch.testing.assert_close(published.audio_embedding(MEMORY), published.encoder_embed_mlp(MEMORY.mean(1)))


def test_a_recipe_names_another() -> None:
    assert captioner_config({"pooling": "attention"}).pooling == "attention"
    with pytest.raises(ConfigError, match="pooling"):
        captioner_config({"pooling": "loudest"})


def test_equal_scores_give_the_mean_and_others_choose() -> None:
    model = captioner()
    assert model.audio_pooling is not None
    torch.nn.init.zeros_(model.audio_pooling.score.weight)
    torch.testing.assert_close(model.audio_pooling(MEMORY, None), MEMORY.mean(1))
    torch.nn.init.constant_(model.audio_pooling.score.weight, 1e4)
    loudest = MEMORY.sum(-1).argmax(1)
    torch.testing.assert_close(model.audio_pooling(MEMORY, None), MEMORY[torch.arange(2), loudest])


def test_padded_steps_take_no_part() -> None:
    model = captioner()
    padding = torch.zeros(2, 9, dtype=torch.bool)
    padding[:, 6:] = True
    changed = MEMORY.clone()
    changed[:, 6:] = 100.0
    torch.testing.assert_close(model.audio_embedding(changed, padding), model.audio_embedding(MEMORY[:, :6]))


def test_a_narrower_student_takes_its_teacher_s_scorer() -> None:
    narrower = replace(ATTENTIVE, beats=replace(ATTENTIVE.beats, dim=8), embedding_ffn_dim=20)
    student = build_student(captioner(), narrower)
    origins = {tensor.name: tensor.origin for tensor in student.report.tensors}
    assert origins["audio_pooling.score.weight"] == "cut"
    assert origins["audio_pooling.score.bias"] == "copied"


def test_the_same_in_onnx_runtime(tmp_path: object) -> None:
    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = captioner()

        def forward(self, memory: torch.Tensor) -> torch.Tensor:
            return self.model.audio_embedding(memory)

    path = f"{tmp_path}/head.onnx"
    torch.onnx.export(Head(), (MEMORY,), path, input_names=["memory"], dynamo=False)
    (result,) = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"memory": MEMORY.numpy()})
    torch.testing.assert_close(torch.from_numpy(result), captioner().audio_embedding(MEMORY), atol=1e-5, rtol=1e-4)
