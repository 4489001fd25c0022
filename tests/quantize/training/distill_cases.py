"""Small teachers, students and sentence embedders, for tests of distillation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel

from quantize.data.lexicon import LEXICON
from quantize.data.tokenizer import train_tokenizer
from quantize.models.captioner import Captioner
from quantize.models.config import CaptionerConfig
from quantize.training.distill import TeacherModel
from quantize.training.recipe import Recipe
from quantize.training.settings import DistillSettings, StoredRecipe, TextStudentSettings
from tests.quantize.models.published_layout import SENTENCE, scramble, write_json

FOREIGN = [f"{word} nobody says {word}" for word in ("zyzzyva", "quincunx", "bandicoot", "oubliette", "flummery")]
"""What a teacher's tokenizer has words for that no caption holds."""


@dataclass
class RecordedProgress:
    """Progress that keeps what it is told, and breaks the run off after so many steps."""

    steps_left: int = -1
    losses: list[float] = field(default_factory=list)
    epochs: list[tuple[int, int]] = field(default_factory=list)

    def epoch(self, number: int, total: int, steps: int) -> None:
        self.epochs.append((number, total))

    def step(self, loss: float, scenes_per_s: float) -> None:
        self.losses.append(loss)
        self.steps_left -= 1
        if not self.steps_left:
            raise KeyboardInterrupt

    def validated(self, scores: dict[str, float]) -> None: ...


def student_recipe(recipe: Recipe) -> Recipe:
    """Two epochs of three steps of the small recipe's model as a student; as much is stored as an epoch has."""
    train = replace(
        recipe.train, contrastive_target="given", captions_per_scene=2, corpus_scenes=8, validation_scenes=2
    )
    return replace(
        recipe,
        name="student",
        train=train,
        folds=replace(recipe.folds, validation=()),
        distill=DistillSettings(top_tokens=6),
        stored=StoredRecipe(count=12, captions=3),
        text_student=TextStudentSettings(
            epochs=2, scenes_per_epoch=24, batch_scenes=8, warmup_steps=1, corpus_texts=60, held_out_texts=20
        ),
    )


def small_teacher(config: CaptionerConfig, captions: Iterable[str], folder: Path, seed: int = 3) -> TeacherModel:
    """A captioner of random weights that nothing was trained on; its file is one that has its own hash."""
    tokenizer = train_tokenizer([*captions, *FOREIGN * 50], config.decoder.vocab_size)
    decoder = replace(config.decoder, vocab_size=tokenizer.get_vocab_size())
    torch.manual_seed(seed)
    captioner = Captioner(replace(config, decoder=decoder)).eval()
    with torch.no_grad():
        for parameter in captioner.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        captioner.lm_head.weight.normal_(std=0.5)
    weights = folder / f"teacher-{seed}.pt"
    torch.save(captioner.state_dict(), weights)
    return TeacherModel(captioner, tokenizer, weights)


def write_sentence_embedder(folder: Path, dim: int = 8) -> Path:
    """A BERT of one layer under mean pooling, which knows every word of the lexicon."""
    words = sorted(
        {word for sound in LEXICON.values() for p in sound.phrases for word in f"{p.subject} {p.gerund}".split()}
    )
    vocabulary = {word: number for number, word in enumerate(["<pad>", "[CLS]", "[SEP]", "[UNK]", *words])}
    table = {
        "vocab_size": len(vocabulary),
        "hidden_size": dim,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 12,
        "max_position_embeddings": 48,
        "pad_token_id": 0,
    }
    torch.manual_seed(6)
    model = BertModel(BertConfig(**table))
    scramble(model)
    kinds = ("Transformer", "Pooling", "Normalize")
    listed = [
        {"idx": number, "name": str(number), "path": f"{number}_{kind}" if number else "", "type": SENTENCE + kind}
        for number, kind in enumerate(kinds)
    ]
    write_json(folder / "modules.json", listed)
    write_json(folder / "config.json", {"model_type": "bert", **table})
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    save_file({name: tensor.clone() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_bart_tokenizer(folder: Path, captions: Iterable[str], size: int = 500) -> int:
    """The older pair of files, vocab.json and merges.txt, numbered as BART's; returns how many tokens there are."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*captions, *FOREIGN * 50], trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.model.save(str(folder))
    return int(tokenizer.get_vocab_size())


def epoch_rows(folder: Path) -> list[Mapping[str, float]]:
    """The rows of a run's log that close an epoch."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if "epoch" in row]


def write_recipe_toml(recipe: Recipe, path: Path) -> Path:
    """A recipe as a person writes it; JSON's scalars and arrays are TOML's, too."""
    table = {name: part for name, part in asdict(recipe).items() if part is not None}
    bundle = {name: table.pop(name) for name in ("name", "version", "license", "source")}
    lines: list[str] = []

    def write(name: str, part: Mapping[str, object]) -> None:
        lines.append(f"[{name}]")
        lines.extend(f"{key} = {json.dumps(value)}" for key, value in part.items() if not isinstance(value, dict))
        for key, value in part.items():
            if isinstance(value, dict):
                write(f"{name}.{key}", value)

    for name, part in {"bundle": bundle, **table}.items():
        write(name, part)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
