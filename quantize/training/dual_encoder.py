"""The training of a student of CLAP, in a folder that a run goes on in where it was broken off.

The folder holds ``dual_encoder.json`` (the recipe, with the vocabulary that was found), ``tokenizer.json`` (the
teacher's, cut to the texts), ``texts.json``, ``teacher/`` (what the teacher heard, computed once), ``run.json`` and
what the trainer keeps.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, pre_tokenizers
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from edge_aac.errors import ConfigError, DataError
from edge_aac.models.tokens import load_tokenizer, to_arrays
from quantize.data.everyday.lexicon import english
from quantize.models.clap.graphs import bundle_facts
from quantize.models.dual_student import AnyClap, DualStudent, narrowed, token_table
from quantize.models.weight_files import read_json
from quantize.progress import OnProgress
from quantize.training.batches import mask_bins, shuffled
from quantize.training.distributed import World
from quantize.training.dual_objective import DualObjective, PairedBatch, PairedExample, collate_pairs
from quantize.training.dual_recipe import DualRecipe, DualSettings, dual_recipe_from
from quantize.training.dual_sounds import DrawnWindows, Recordings, clap_fingerprint, heard_by
from quantize.training.dual_texts import Texts
from quantize.training.finished import averaged_model, check_run_files, finished_weights
from quantize.training.identities import note_identities, sha256_of
from quantize.training.loop import Progress, Trainer
from quantize.training.sources import VALIDATION_SEED
from quantize.training.vocabulary import PrunedVocabulary, prune_tokenizer

RUN, TOKENIZER, TEXTS, TEACHER = "dual_encoder.json", "tokenizer.json", "texts.json", "teacher"
_BATCH = 64


@dataclass(frozen=True)
class Taught:
    """Windows and texts as the teacher has them, (N, D) of unit length each."""

    windows: DrawnWindows
    heard: Tensor
    read: Tensor
    scale: float


class DualTraining:
    """A run of a student of CLAP in its folder.

    Args:
        recipe: sizes and settings.
        teacher: a CLAP.
        recordings: what it hears.
        texts: what it reads.
        folder: of the run; one that was broken off goes on.
        world: the processes.
        on_progress: called with the number of windows that the teacher heard.

    Raises:
        ConfigError: the folder holds a run of another recipe, teacher, recordings or texts.
        DataError: the teacher's tokenizer cannot be cut, or a file of the folder is damaged.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what is trained, on what, where
        self,
        recipe: DualRecipe,
        teacher: AnyClap,
        recordings: Recordings,
        texts: Texts,
        folder: Path,
        world: World | None = None,
        on_progress: OnProgress = lambda done: None,
    ) -> None:
        self.folder, self.world, self.texts = folder, world or World(), texts
        train, facts = recipe.train, bundle_facts(teacher)
        vocabulary = prune_tokenizer(spaced(facts.tokenizer), texts.texts)
        self.tokenizer = vocabulary.tokenizer
        self.recipe = replace(recipe, text=replace(recipe.text, vocab_size=self.tokenizer.get_vocab_size()))
        drawn = DrawnWindows(recordings, recordings.learnt, train.seed, train.windows)
        if self.world.first:
            self._prepare(clap_fingerprint(teacher), recordings)
            heard_by(teacher, drawn, folder / TEACHER / "windows", on_progress)
        self.world.barrier()
        heard = torch.from_numpy(heard_by(teacher, drawn, folder / TEACHER / "windows"))
        asked = [train.teacher_prompt.replace("{}", text) for text in texts.texts]
        read = functional.normalize(teacher.embed_text(asked), dim=-1)
        self.taught = Taught(drawn, heard, read, facts.logit_scale)
        self.token_ids = [torch.tensor(entry.ids) for entry in self.tokenizer.encode_batch(list(texts.texts))]
        self._labels = torch.tensor([texts.texts.index(label) for label in texts.labels])
        torch.manual_seed(train.seed)
        student = DualStudent(recipe.sound, self.recipe.text, facts.embedding_size)
        student.take_table(_table(teacher, vocabulary, recipe.text.dim))
        self.trainer: Trainer[PairedBatch] = Trainer(
            student,
            DualObjective(train, facts.logit_scale),
            lambda epoch: PairedWindows(self.taught, texts, self.token_ids, self.recipe.train, epoch),
            collate_pairs,
            self.recipe.train,
            folder,
            self.world,
            self._validation(teacher, recordings) if self.world.first else None,
        )

    @property
    def student(self) -> DualStudent:
        """The averaged weights, in evaluation mode."""
        averaged = self.trainer.averaged.module
        assert isinstance(averaged, DualStudent)
        return averaged.eval()

    def train(self, progress: Progress) -> dict[str, float]:
        """Run what is left; returns the scores of the last validation (empty without one)."""
        return self.trainer.train(progress)

    def _prepare(self, teacher: str, recordings: Recordings) -> None:
        folder, texts = self.folder, self.texts
        folder.mkdir(parents=True, exist_ok=True)
        identities = {"recipe": asdict(self.recipe), "clips": recordings.fingerprint(), "texts": texts.texts}
        note_identities(
            {"teacher": teacher, **{name: sha256_of(part) for name, part in identities.items()}}, self.folder
        )
        self.tokenizer.save(str(folder / TOKENIZER))
        (folder / RUN).write_text(json.dumps(asdict(self.recipe), indent=1), encoding="utf-8")
        (folder / TEXTS).write_text(json.dumps({"labels": texts.labels}, indent=1), encoding="utf-8")

    def _validation(self, teacher: AnyClap, recordings: Recordings) -> Callable[[DualStudent], dict[str, float]] | None:
        count = self.recipe.train.validation_windows
        if not recordings.held_out or not count:
            return None
        windows = DrawnWindows(recordings, recordings.held_out, VALIDATION_SEED, count)
        heard = torch.from_numpy(heard_by(teacher, windows, self.folder / TEACHER / "held_out"))
        wanted = (heard @ self.taught.read[self._labels].T).argmax(dim=1)
        ids, mask = map(torch.from_numpy, to_arrays(self.tokenizer, self.texts.labels))

        def validate(student: DualStudent) -> dict[str, float]:
            model = student.cpu()
            fbanks = (
                torch.from_numpy(np.stack([windows.fbank(number) for number in range(at, min(at + _BATCH, count))]))
                for at in range(0, count, _BATCH)
            )
            sound = torch.cat([model.sound(part) for part in fbanks])
            text = torch.cat([model.text(*pair) for pair in zip(ids.split(_BATCH), mask.split(_BATCH), strict=True)])
            cosines = functional.cosine_similarity(model.to_teacher(sound), heard, dim=-1)
            nearest = (functional.normalize(sound, dim=-1) @ text.T).argmax(dim=1)
            model.to(self.world.device)
            return {
                "cosine_to_teacher": float(cosines.mean()),
                "same_label": float((nearest == wanted).float().mean()),
            }

        return validate


class PairedWindows(Dataset[PairedExample]):
    """An epoch's windows, each once before one comes again, with texts and stripes of the mel axis drawn by
    (seed, epoch, index).

    A window of a recording whose label is among the texts is said by one of the label's texts; of any other one by a
    text that is drawn as likely as the teacher finds it.

    Args:
        taught: by the teacher.
        texts: to draw from.
        token_ids: of each text.
        settings: seed, masks and number of windows.
        epoch: counted from 0.
    """

    def __init__(
        self, taught: Taught, texts: Texts, token_ids: list[Tensor], settings: DualSettings, epoch: int
    ) -> None:
        self._taught, self._texts, self._token_ids = taught, texts, token_ids
        self._settings, self._epoch, self._lexicon = settings, epoch, english()

    def __len__(self) -> int:
        return self._settings.scenes_per_epoch

    def __getitem__(self, index: int) -> PairedExample:
        settings, taught, number = self._settings, self._taught, self.number(index)
        rng = np.random.default_rng([settings.seed, self._epoch, index])
        said, other = self._said(number, rng), int(rng.integers(len(self._token_ids)))
        fbank = taught.windows.fbank(number)
        mask_bins(fbank, settings.masks, settings.mask_bins, fbank.min(), rng)
        ids = (self._token_ids[said], self._token_ids[other])
        read = taught.read[[said, other]]
        return PairedExample(torch.from_numpy(fbank), ids, taught.heard[number], read, self._texts.groups[said])

    def number(self, index: int) -> int:
        """The window that comes at a place of the epoch."""
        count = len(self._taught.windows)
        round_, place = divmod(self._epoch * len(self) + index, count)
        return int(shuffled(self._settings.seed, round_, count)[place])

    def _said(self, number: int, rng: np.random.Generator) -> int:
        if places := self._texts.saying(self._taught.windows.row(number).label, self._lexicon):
            return int(rng.choice(places))
        shares = (self._taught.scale * (self._taught.read @ self._taught.heard[number])).double().softmax(dim=0)
        return int(np.searchsorted(shares.cumsum(dim=0).numpy(), rng.random()).clip(max=len(shares) - 1))


def spaced(tokenizer: Tokenizer) -> Tokenizer:
    """A copy without padding that, of bytes, reads a space before each text: a word is one token wherever it stands."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_padding()
    copy.no_truncation()
    if json.loads(copy.to_str())["pre_tokenizer"]["type"] == "ByteLevel":
        copy.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return copy


def _table(teacher: AnyClap, vocabulary: PrunedVocabulary, width: int) -> Tensor:
    return narrowed(token_table(teacher)[torch.from_numpy(vocabulary.kept_ids)], width)


def load_dual_run(folder: Path) -> tuple[DualStudent, Tokenizer, DualRecipe, tuple[str, ...]]:
    """The averaged student of a finished run in evaluation mode, its tokenizer, its recipe, and the bundle's labels.

    Raises:
        InputMissingError: the folder holds no finished run.
        DataError: a file is damaged.
    """
    check_run_files(folder, (RUN, TOKENIZER, TEXTS), "a dual encoder")
    try:
        recipe = dual_recipe_from(read_json(folder / RUN))
        labels = tuple(map(str, read_json(folder / TEXTS)["labels"]))
    except (KeyError, ConfigError) as error:
        raise DataError(f"{folder / RUN} is no recipe of a run: copy the run's folder here again") from error
    weights = finished_weights(folder, recipe.train.epochs)
    # Where there is no map, the teacher's embeddings have the student's size.
    map_ = weights.get("module.to_teacher.weight")
    teacher_dim = recipe.text.embedding_dim if map_ is None else len(map_)
    student = averaged_model(DualStudent(recipe.sound, recipe.text, teacher_dim), weights, folder, RUN)
    return student, load_tokenizer(folder / TOKENIZER), recipe, labels
