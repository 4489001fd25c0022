"""Pengi for use from Python: a sound and a prompt in, every stage's output and texts out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from edge_aac.errors import DataError
from quantize.models.audio_language.audio_stages import AudioSettings, AudioStages, unit
from quantize.models.audio_language.beam_search import SearchRules
from quantize.models.audio_language.clips import Waveforms
from quantize.models.audio_language.gpt2_text import Gpt2Text
from quantize.models.audio_language.prefix_writer import Generated, PrefixWriter
from quantize.models.config import at_least_one
from quantize.models.pengi.clip_text import ClipText
from quantize.models.pengi.network import PengiNetwork

DESCRIBING_PROMPTS = ("generate audio caption", "generate metadata", "this is a sound of")
_EVENTS = "this audio contains sound events: "

Texts = str | Sequence[str]
"""One for all waveforms, or one for each."""
AdditionalTexts = str | Sequence[str | None] | None
"""The same, where "" and None are none."""


@dataclass(frozen=True)
class PengiSettings(AudioSettings):
    """The published settings of Pengi; the weights tell whether it has a text tower, and all its widths.

    Attributes:
        text_model: folder of CLIP.
        text_decoder: folder of GPT-2.
        mapping_type: only the published kind of mapper is read.
        normalize_prefix: whether the audio embedding is divided by its norm before it is mapped.
        enc_text_len: tokens of a prompt.
    """

    text_model: str = "openai/clip-vit-base-patch16"
    text_decoder: str = "gpt2"
    mapping_type: Literal["transformer"] = "transformer"
    normalize_prefix: bool = True
    enc_text_len: int = 40

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "enc_text_len")


class Pengi(AudioStages):
    """Stages of Pengi, without gradients; see ``quantize.load_pengi``.

    Args:
        network: in evaluation mode.
        text: GPT-2's tokens.
        prompts: CLIP's tokens; None where the network has no text tower.
        settings: the published ones.

    Attributes:
        network, prompts, settings: as given.
        writer: GPT-2 and its tokens.
    """

    def __init__(
        self, network: PengiNetwork, text: Gpt2Text, prompts: ClipText | None, settings: PengiSettings
    ) -> None:
        tower = network.audio_encoder
        super().__init__(tower, settings.clip_length(tower.htsat.config))
        self.network, self.settings = network, settings
        self.writer = PrefixWriter(network.caption_decoder.gpt, text)
        self.prompts = prompts

    @torch.no_grad()
    def audio_stages(self, waveform: Waveforms, rng: random.Random | None = None) -> dict[str, Tensor]:
        """``waveform`` and every stage of HTSAT, ``projection`` (B, E), ``embedding`` (the same of unit length) and
        ``prefix`` (B, P, D), by the names of the reference.
        """
        found = super().audio_stages(waveform, rng)
        found["projection"] = found["embedding"]
        return {**found, **self._audio_prefix(found["projection"])}

    @torch.no_grad()
    def prompt_stages(self, prompt: Texts, normalise: bool = False) -> dict[str, Tensor]:
        """What a prompt becomes.

        Args:
            prompt: any text; what has more than ``enc_text_len`` tokens is cut.
            normalise: whether its embedding is divided by its norm, as in training; the published wrapper does not.
                Without a text tower there is nothing to normalise.

        Returns:
            ``input_ids``, ``attention_mask`` (N, S), with a text tower ``hidden``, ``pooled`` and ``clip_projected``,
            ``embedding`` ((N, E), or GPT-2's (N, S, D)) and ``prefix`` (N, P, D).
        """
        prompts = [prompt] if isinstance(prompt, str) else prompt
        tower = self.network.caption_encoder
        if tower is not None and self.prompts is not None:
            ids, mask = self.prompts.batch(prompts)
            found = tower.stages(ids, mask)
            if normalise:
                found["embedding"] = unit(found["embedding"])
        else:
            # Padding is not masked: it takes part, as published.
            ids, mask = self.writer.text.batch(prompts, self.settings.enc_text_len, cut=True)
            found = {"embedding": self.writer.embed(ids)}
        prefix = self.network.caption_decoder.text_project(found["embedding"])
        return {"input_ids": ids, "attention_mask": mask, **found, "prefix": prefix}

    @torch.no_grad()
    def prefix(
        self, waveform: Waveforms, prompt: Texts, normalise_prompt: bool = False, rng: random.Random | None = None
    ) -> Tensor:
        """The vectors that GPT-2 goes on from, (B, 2 P, D): the sound's, then the prompt's.

        Args:
            waveform: see :meth:`quantize.models.audio_language.clips.ClipLength.batch`.
            prompt: one for all waveforms, or one for each.
            normalise_prompt: see :meth:`prompt_stages`.
            rng: draws where longer waveforms are cut; None cuts at the beginning.

        Raises:
            DataError: a waveform is unusable, or prompts and waveforms are not equally many.
        """
        audio = self._audio_prefix(self.embed_audio(waveform, rng))["prefix"]
        if not isinstance(prompt, str) and len(prompt) != len(audio):
            raise DataError(f"{len(prompt)} prompts for {len(audio)} waveforms: give one, or one for each")
        prompts = self.prompt_stages(prompt, normalise_prompt)["prefix"]
        return torch.cat([audio, prompts.expand(len(audio), -1, -1)], dim=1)

    def extended(self, prefix: Tensor, additional_text: AdditionalTexts, as_published: bool = False) -> list[Tensor]:
        """Prefixes with the tokens of an additional text behind them.

        Args:
            prefix: (B, P, D) from :meth:`prefix`.
            additional_text: one for all, or one for each; "" and None add nothing. It gets no end token.
            as_published: the published wrapper takes of the text for the i-th file the i-th character alone (counted
                from 0), and fails where there is none or where it is several tokens.

        Returns:
            B tensors (P + tokens, D).

        Raises:
            DataError: texts and prefixes are not equally many, or ``as_published`` fails as that wrapper does.
        """
        texts: Sequence[str | None]
        if additional_text is None or isinstance(additional_text, str):
            texts = [additional_text] * len(prefix)
        else:
            texts = additional_text
        if len(texts) != len(prefix):
            raise DataError(f"{len(texts)} additional texts for {len(prefix)} prefixes: give one, or one for each")
        found = []
        for number, (vectors, given) in enumerate(zip(prefix, texts, strict=True)):
            text = given or ""
            ids = self.writer.text.ids(text[number : number + 1] if as_published else text)
            if as_published and text and len(ids) != 1:
                raise DataError(
                    f"the published wrapper takes character {number} of {text!r}, which is {len(ids)} tokens and must "
                    "be one: give the text as it is meant"
                )
            found.append(torch.cat([vectors, self.writer.embed(torch.tensor(ids, dtype=torch.long))]))
        return found

    def logits(self, prefix: Tensor, token_ids: Tensor) -> Tensor:
        """Teacher-forced logits (B, P + S, V) behind a prefix (B, P, D) of tokens (B, S); no mask.

        Raises:
            DataError: they are longer than GPT-2 has positions.
        """
        return self.writer.logits(prefix, token_ids)

    def generate(
        self,
        waveform: Waveforms,
        prompt: Texts,
        additional_text: AdditionalTexts = None,
        beams: int = 5,
        max_length: int = 67,
        temperature: float = 1.0,
        rng: random.Random | None = None,
    ) -> list[Generated]:
        """Answers to prompts about waveforms, best first; the published example takes 3 beams and 30 tokens.

        Args:
            waveform, prompt, rng: see :meth:`prefix`.
            additional_text: the answer goes on from it; see :meth:`extended`.
            beams: texts that are kept at each step; 1 is greedy.
            max_length: tokens of an answer.
            temperature: divides the logits.

        Raises:
            ConfigError: one of these is unusable.
            DataError: a waveform is unusable, or the answer would be longer than GPT-2 has positions.
        """
        rules = SearchRules(beams, max_length, temperature)
        return self.writer.write(self.extended(self.prefix(waveform, prompt, rng=rng), additional_text), rules)

    def describe(
        self, waveform: Waveforms, beams: int = 5, max_length: int = 67, rng: random.Random | None = None
    ) -> list[str]:
        """One description of each waveform, of the best answers to three prompts, joined as published.

        They are joined without spaces, and of the last answer the last character is cut off: the space that a stopped
        text ends in, or a letter where it never stopped. A longer waveform is cut once for all three prompts.
        """
        rules = SearchRules(beams, max_length)
        clips = self.clip_length.batch(waveform, rng)
        answers = [
            [found.texts[0] for found in self.writer.write(self.prefix(clips, prompt), rules)]
            for prompt in DESCRIBING_PROMPTS
        ]
        joined = zip(*answers, strict=True)
        return [f"{caption}{metadata}{_EVENTS}{events[:-1]}." for caption, metadata, events in joined]

    @torch.no_grad()
    def _audio_prefix(self, projection: Tensor) -> dict[str, Tensor]:
        embedding = unit(projection) if self.settings.normalize_prefix else projection
        return {"embedding": embedding, "prefix": self.network.caption_decoder.audio_project(embedding)}
