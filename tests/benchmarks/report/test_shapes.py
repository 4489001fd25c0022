"""What stands beside ours has the sizes that it claims, and each way says captions of the same length."""

from __future__ import annotations

import pytest

for needed in ("torch", "transformers", "onnx"):
    pytest.importorskip(needed, reason="what ours is compared with needs it: pip install 'edge-aac[train]'")

import torch  # noqa: E402

from benchmarks.full_size import at_length  # noqa: E402
from benchmarks.report.effb2 import MELS, EffB2Trm  # noqa: E402
from benchmarks.report.plain import plain  # noqa: E402
from benchmarks.report.torch_ways import PublishedParts, eager, generate  # noqa: E402
from edge_aac.bundle.store import DEFAULT_BUNDLE  # noqa: E402
from edge_aac.models.seq2seq import Captioner, window_rng  # noqa: E402
from quantize.models.config import CaptionerConfig, captioner_config  # noqa: E402

SMALL = {
    "beats": {"patch_embed_dim": 16, "layers": 1, "run_layers": 1, "dim": 32, "ffn_dim": 32, "heads": 2, "conv_pos": 8},
    "conformer": {"layers": 1, "heads": 2, "ffn_dim": 32, "depthwise_kernel": 3, "conv_pos": 8},
    "decoder": {"layers": 2, "heads": 2, "ffn_dim": 32, "vocab_size": 60, "max_positions": 32},
    "embedding_ffn_dim": 16,
}
TOKENS = 7


def test_sizes_that_are_left_out_are_the_published_ones() -> None:
    assert captioner_config({}) == CaptionerConfig()


def test_the_encoder_of_effb2_has_the_published_number_of_parameters() -> None:
    model = EffB2Trm().eval()
    # torchvision's efficientnet_b2 has 9 109 994, of them 1 409 000 in its classifier; its stem has three colours.
    stem = 2 * 9 * 32
    assert sum(p.numel() for p in model.encoder.parameters()) == 9_109_994 - 1_409_000 - stem
    with torch.no_grad():
        memory = model.encode(torch.zeros(1, MELS, 1001))
        assert memory.shape == (1, 32, 256)
        found = model.beam_search(memory, TOKENS).tolist()
    assert len(found) == TOKENS and found[-1] == 2 and 2 not in found[1:-1]


@pytest.mark.parametrize("second_pass", [True, False])
def test_torch_in_eager_mode(second_pass: bool) -> None:
    way = eager(1, SMALL, "tiny", 3, TOKENS, second_pass)
    stages = {"features", "encode", "decode", "rerank"} | ({"score"} if second_pass else set())
    assert set(way.run(0)) == stages and min(way.run(1).values()) > 0.0
    assert (way.about["candidates"], way.about["tokens"]) == (3, TOKENS)


def test_all_captions_have_the_same_length() -> None:
    parts = PublishedParts(1, SMALL, "tiny", 3, TOKENS)
    memory = torch.randn(1, parts.config.memory_steps, 32)
    found = parts.captioner.decode(memory, None, parts.rules(3), window_rng(0, 0))
    assert [len(candidate.token_ids) for candidate in found] == [TOKENS - 2] * 3
    assert parts.rerank(torch.randn(1, 768)).shape == (3,)


def test_transformers_generate() -> None:
    way = generate(1, SMALL, "tiny", 3, TOKENS)
    assert set(way.run(0)) == {"features", "encode", "decode", "rerank"}


def test_plain_onnx_runtime() -> None:
    way = plain(1, SMALL, "tiny", 3, TOKENS)
    assert set(way.run(0)) == {"features", "encode", "decode", "rerank"}
    assert way.about["precision"] == "int8, dynamic"


def test_a_fixed_length_is_one_that_the_runtime_can_decode() -> None:
    captioner = Captioner.open(DEFAULT_BUNDLE)
    for tokens in (TOKENS, captioner.rules.max_length):
        rules = at_length(captioner.rules, tokens)
        captioner.decoder.check(rules)
        assert (rules.min_length, rules.max_length) == (tokens - 1, tokens)
