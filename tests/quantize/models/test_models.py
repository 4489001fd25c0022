"""The modules: parity with transformers, of the cached step with itself, and what the embedded sizes need."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from transformers import BartConfig
from transformers.models.bart.modeling_bart import BartDecoder as TransformersDecoder

from quantize.models.beats import Beats, relative_buckets
from quantize.models.captioner import Captioner
from quantize.models.config import BeatsConfig, CaptionerConfig, DecoderConfig, TextEmbedderConfig
from quantize.models.decoder import BartDecoder
from quantize.models.instructor import TextEmbedder


def test_decoder_equals_that_of_transformers() -> None:
    torch.manual_seed(0)
    config = DecoderConfig(vocab_size=50, layers=2, heads=4, ffn_dim=32, max_positions=16)
    ours = BartDecoder(16, config).eval()
    theirs = TransformersDecoder(
        BartConfig(
            vocab_size=50,
            d_model=16,
            decoder_layers=2,
            decoder_attention_heads=4,
            decoder_ffn_dim=32,
            max_position_embeddings=16,
        )
    ).eval()
    theirs.load_state_dict(ours.state_dict())
    ids, memory = torch.randint(4, 50, (3, 9)), torch.randn(3, 7, 16)
    with torch.no_grad():
        want = theirs(input_ids=ids, encoder_hidden_states=memory, use_cache=False).last_hidden_state
        assert torch.allclose(ours(ids, memory), want, atol=1e-5)


def test_cached_steps_equal_the_teacher_forced_pass(small_config: CaptionerConfig) -> None:
    """Of three windows, the second of which is shorter, five captions each."""
    torch.manual_seed(0)
    model = Captioner(small_config).eval()
    decoder, capacity = model.decoder, small_config.decoder.max_positions
    ids, memory = torch.randint(4, 900, (15, capacity)), torch.randn(3, 9, 16)
    padding = torch.arange(9) >= torch.tensor([[9], [4], [9]])
    layers, heads = small_config.decoder.layers, small_config.decoder.heads
    # Rows that are not yet written hold rubbish on purpose: the step must not read them.
    keys = torch.full((layers, 15, heads, capacity, 16 // heads), 1e4)
    values = keys.clone()
    with torch.no_grad():
        want = decoder(ids, memory.repeat_interleave(5, dim=0), padding.repeat_interleave(5, dim=0))
        cross_keys, cross_values = decoder.cross_keys_values(memory)
        for step in range(capacity):
            hidden, new_keys, new_values = decoder.step(
                ids[:, step : step + 1],
                torch.tensor([step]),
                (keys, values),
                (cross_keys.transpose(0, 1), cross_values.transpose(0, 1)),
                padding,
            )
            keys[:, :, :, step], values[:, :, :, step] = new_keys[:, :, :, 0], new_values[:, :, :, 0]
            assert torch.allclose(hidden[:, 0], want[:, step], atol=1e-5), step


def test_relative_buckets_follow_the_definition() -> None:
    config = BeatsConfig(relative_buckets=32, relative_max_distance=64)
    buckets = relative_buckets(200, config)

    def bucket(offset: int) -> int:
        base, distance = (16 if offset > 0 else 0), abs(offset)
        if distance < 8:
            return base + distance
        return base + min(15, 8 + int(math.log(distance / 8) / math.log(64 / 8) * 8))

    for i, j in [(0, 0), (0, 1), (1, 0), (0, 7), (9, 0), (0, 20), (60, 0), (0, 199), (199, 0)]:
        assert buckets[i, j] == bucket(j - i), (i, j)


def test_convolutional_stem_gives_one_token_a_step(small_config: CaptionerConfig) -> None:
    model = Beats(small_config.beats).eval()
    hidden, padding = model(torch.zeros(2, 998, 128))
    assert hidden.shape == (2, 63, 16)
    assert padding is None


def test_padding_changes_no_unpadded_embedding_of_text() -> None:
    torch.manual_seed(0)
    model = TextEmbedder.from_config(
        TextEmbedderConfig(vocab_size=40, dim=16, head_dim=8, heads=2, ffn_dim=32, layers=2, embedding_dim=8)
    ).eval()
    ids = torch.randint(4, 40, (1, 6))
    padded = torch.cat([ids, torch.full((1, 3), 7)], dim=1)
    mask = torch.tensor([[1] * 6 + [0] * 3])
    with torch.no_grad():
        alone, among = model(ids, torch.ones_like(ids)), model(padded, mask)
    assert torch.allclose(alone, among, atol=1e-5)
    assert torch.allclose(alone.norm(dim=-1), torch.ones(1), atol=1e-5)


def test_a_classifier_of_sounds_reads_each_step_of_the_memory(small_config: CaptionerConfig) -> None:
    torch.manual_seed(0)
    model = Captioner(replace(small_config, sounds=7)).eval()
    memory = torch.randn(2, 5, 16)
    logits = model.sound_logits(memory)
    assert logits.shape == (2, 5, 7)
    assert torch.allclose(logits[:, 3], model.sound_logits(memory[:, 3:4])[:, 0])
    assert not any("sound_head" in name for name in Captioner(small_config).state_dict())
