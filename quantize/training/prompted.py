"""The training of a prompted student: a small language model over the encoder of a captioner of everyday sounds.

The encoder learns no more, so that a bundle may have both: what it makes of a scene is the captioner's memory. The
language model is given that memory and a prompt, and learns the answers (:mod:`quantize.training.asked_scenes`).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from edge_aac.bundle.hashes import file_sha256
from edge_aac.errors import ConfigError, DataError
from edge_aac.models.tokens import load_tokenizer
from quantize.data.everyday.heard_sounds import read_heard
from quantize.data.everyday.lexicon import english
from quantize.data.everyday.questions import Question, questions, sounds_elsewhere
from quantize.data.everyday.scenes import EverydayScenes
from quantize.data.sounds.store import SoundStore
from quantize.data.tokenizer import train_tokenizer
from quantize.models.captioner import Captioner
from quantize.models.patch_stem import PatchStem
from quantize.models.prompted_student import PromptedConfig, PromptedWriter
from quantize.models.weight_files import read_json
from quantize.progress import OnProgress
from quantize.training.asked_scenes import (
    CHECK_PROMPTS,
    EVENTS,
    AskedBatch,
    AskedScenes,
    KeptEvents,
    PromptTokenizer,
    asked_texts,
    collate_asked,
    keep_events,
)
from quantize.training.distributed import World, share_of_mean
from quantize.training.everyday import SCENES
from quantize.training.everyday_source import EverydaySource
from quantize.training.finished import averaged_model, check_run_files, finished_weights
from quantize.training.identities import note_identities, sha256_of
from quantize.training.loop import Progress, Trainer
from quantize.training.objective import IGNORED, caption_cross_entropy
from quantize.training.precision import in_fp32
from quantize.training.prompted_recipe import PromptedRecipe, prompted_recipe_from
from quantize.training.recipe import Recipe, recipe_from
from quantize.training.sources import VALIDATION_SEED
from quantize.training.stored import StoredExamples
from quantize.training.train import load_run
from quantize.training.trainee import Terms
from quantize.training.validation import decode_texts

RUN, TOKENIZER = "prompted.json", "tokenizer.json"
_VALIDATION_QUESTIONS = 6
_BATCH = 64


@dataclass(frozen=True)
class Encoder:
    """The captioner whose encoder hears.

    Attributes:
        captioner: in evaluation mode; it learns no more.
        recipe: of its training.
        run: folder of its training.
    """

    captioner: Captioner
    recipe: Recipe
    run: Path

    @classmethod
    def load(cls, run: Path) -> Encoder:
        """The captioner of a finished run.

        Raises:
            InputMissingError, DataError: the run is not finished, or damaged.
            ConfigError: it is none of everyday sounds.
        """
        trainee, _, table = load_run(run)
        recipe = recipe_from(table)
        if recipe.everyday is None or trainee.captioner.encoder.patch_stem is None:
            raise ConfigError(f"{run} is no run of a recipe with [everyday]: give the folder of one with --teacher")
        return cls(trainee.captioner.eval().requires_grad_(False), recipe, run)

    @torch.no_grad()
    def memory(self, vectors: Tensor) -> Tensor:
        """The memory (B, T', D) of the stem's vectors (B, P, patch_embed_dim)."""
        return self.captioner.memory(self.captioner.encoder.hidden_of_vectors(vectors))[0]

    def source(self, data: Path, heard: Path) -> EverydaySource:
        """The scenes that it learnt from.

        Args:
            data: folder of the store of sound.
            heard: folder of what the tagger heard.
        """
        stem = self.captioner.encoder.patch_stem
        assert isinstance(stem, PatchStem)
        return EverydaySource(self.recipe, SoundStore.open(data), read_heard(heard), english(), stem)


class PromptedObjective:
    """Cross-entropy with the answers.

    Args:
        encoder: hears; it is consulted, and not trained.
        smoothing: of the labels.
    """

    def __init__(self, encoder: Encoder, smoothing: float) -> None:
        self._encoder, self._smoothing = encoder, smoothing

    def __call__(self, writer: PromptedWriter, batch: AskedBatch) -> Terms:
        """The loss for one batch."""
        logits = writer(self._encoder.memory(batch.vectors), batch.prompt_ids, batch.answer_ids).float()
        labels = batch.labels
        with in_fp32(logits):
            loss = caption_cross_entropy(logits, labels, self._smoothing) * share_of_mean((labels != IGNORED).sum())
        return {"loss": loss, "answers": loss}


class PromptedTraining:
    """A run of a prompted student in its folder.

    Args:
        recipe: sizes and settings.
        encoder: hears.
        source: the scenes that the encoder learnt from.
        folder: of the run; one that was broken off goes on.
        world: the processes.
        on_progress: called with the number of stored scenes whose events are drawn.

    Raises:
        ConfigError: the folder holds a run of another recipe, encoder or store; or the recipe's prompts are too short
            for those that its bundle has.
        InputMissingError, DataError: the captioner's stored scenes are missing, or are those of another store.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what is trained, on what, where
        self,
        recipe: PromptedRecipe,
        encoder: Encoder,
        source: EverydaySource,
        folder: Path,
        world: World | None = None,
        on_progress: OnProgress = lambda done: None,
    ) -> None:
        self.encoder, self.source, self.folder, self.world = encoder, source, folder, world or World()
        self.examples = StoredExamples.open(encoder.run / SCENES)
        if self.world.first:
            self._prepare(recipe, on_progress)
        self.world.barrier()
        self.tokenizer = load_tokenizer(folder / TOKENIZER)
        self.recipe = prompted_recipe_from(read_json(folder / RUN))
        self.tokens = PromptTokenizer(self.tokenizer, self.recipe.writer)
        self._events = KeptEvents.read(folder / EVENTS, source.lexicon)
        torch.manual_seed(recipe.train.seed)
        self.trainer: Trainer[AskedBatch] = Trainer(
            new_writer(self.recipe.writer, encoder.captioner),
            PromptedObjective(encoder, recipe.train.label_smoothing),
            self._epoch,
            collate_asked,
            self.recipe.train,
            folder,
            self.world,
            self._validation() if self.world.first else None,
        )

    def train(self, progress: Progress) -> dict[str, float]:
        """Run what is left; returns the scores of the last validation (empty without one)."""
        return self.trainer.train(progress)

    def _prepare(self, recipe: PromptedRecipe, on_progress: OnProgress) -> None:
        folder, run = self.folder, self.encoder.run
        folder.mkdir(parents=True, exist_ok=True)
        path, tokenizer = folder / TOKENIZER, None
        if not path.is_file():
            texts = asked_texts(self.source, recipe.train.tokenizer_scenes, recipe.train.seed)
            tokenizer = train_tokenizer(texts, recipe.writer.vocab_size)
            # A bundle of the run has these prompts. A recipe that is refused is none that the folder goes on with.
            PromptTokenizer(tokenizer, recipe.writer).check(CHECK_PROMPTS)
        learnt = {name: sha256_of(part) for name, part in self.source.fingerprint().items()}
        note_identities(
            {
                "recipe": sha256_of(asdict(recipe)),
                "teacher": file_sha256(run / "last.pt"),
                "examples": sha256_of(self.examples.reader.metadata),
                **learnt,
            },
            folder,
        )
        if tokenizer is not None:
            tokenizer.save(str(path))
        tokenizer = load_tokenizer(path)
        PromptTokenizer(tokenizer, recipe.writer).check(CHECK_PROMPTS)
        keep_events(self.source, self.examples, folder, on_progress)
        own = replace(recipe, writer=replace(recipe.writer, vocab_size=tokenizer.get_vocab_size()))
        (folder / RUN).write_text(json.dumps(asdict(own), indent=1), encoding="utf-8")

    def _epoch(self, epoch: int) -> AskedScenes:
        train = self.recipe.train
        return AskedScenes(
            self.examples,
            self._events,
            self.source.lexicon,
            self.tokens,
            train.seed,
            epoch,
            train.scenes_per_epoch,
            train.prompts_per_scene,
        )

    def _validation(self) -> Callable[[PromptedWriter], dict[str, float]] | None:
        folds, count = self.encoder.recipe.folds.validation, self.recipe.train.validation_scenes
        if not folds or not count:
            return None
        scenes = held_out_scenes(self.source, folds)
        lexicon, memories, asked = self.source.lexicon, list[Tensor](), list[Question]()
        prompts: list[list[int]] = []
        heard = [scenes.scene(0, number) for number in range(count)]
        elsewhere = sounds_elsewhere(lexicon, [scene.events for scene in heard])
        for number, scene in enumerate(heard):
            memory = self.encoder.memory(self.source.vectors(scene.waveform)[None])[0]
            rng = np.random.default_rng(number)
            for question in questions(lexicon, scene.events, rng, _VALIDATION_QUESTIONS, elsewhere):
                prompt = self.tokens.prompt(question.text)
                if prompt is not None:
                    memories.append(memory)
                    asked.append(question)
                    prompts.append(prompt)
        if not asked:
            raise DataError("no question can be asked about the scenes of the validation: set validation_scenes to 0")
        memory, prompt_ids = torch.stack(memories), torch.tensor(prompts)

        def validate(writer: PromptedWriter) -> dict[str, float]:
            model = writer.cpu()
            answers = [
                text
                for part, ids in zip(memory.split(_BATCH), prompt_ids.split(_BATCH), strict=True)
                for text in decode_texts(self.tokenizer, model.greedy(part, ids).tolist())
            ]
            model.to(self.world.device)
            return question_scores(asked, answers)

        return validate


def new_writer(config: PromptedConfig, captioner: Captioner) -> PromptedWriter:
    """A language model of random weights over a captioner's memory."""
    return PromptedWriter(config, captioner.config.beats.dim, captioner.config.memory_steps)


def held_out_scenes(source: EverydaySource, folds: tuple[int, ...], seed: int = VALIDATION_SEED) -> EverydayScenes:
    """Scenes of recordings of these folds alone, drawn as those that the captioner learnt from."""
    return source.scenes_of(seed, source.store.folds_but(folds))


def question_scores(asked: list[Question], answers: list[str]) -> dict[str, float]:
    """Share of right answers over all and of each kind, beside what the commonest answer of each kind would reach.

    Args:
        asked: at least one.
        answers: to each.
    """
    truths: dict[str, Counter[str]] = defaultdict(Counter)
    hits: Counter[str] = Counter()
    for question, answer in zip(asked, answers, strict=True):
        truths[question.kind][question.answer] += 1
        hits[question.kind] += answer == question.answer
    counts = {kind: sum(of_kind.values()) for kind, of_kind in truths.items()}
    scores = {"accuracy": sum(hits.values()) / len(asked)}
    scores["majority"] = sum(of_kind.most_common(1)[0][1] for of_kind in truths.values()) / len(asked)
    for kind, of_kind in sorted(truths.items()):
        scores[kind] = hits[kind] / counts[kind]
        scores[f"{kind}_majority"] = of_kind.most_common(1)[0][1] / counts[kind]
    return scores


def load_prompted_run(folder: Path) -> tuple[PromptedWriter, Tokenizer, PromptedRecipe]:
    """The averaged language model of a finished run, in evaluation mode, its tokenizer and its recipe.

    Raises:
        InputMissingError: the folder holds no finished run.
        DataError: a file is damaged.
    """
    check_run_files(folder, (RUN, TOKENIZER), "a prompted student")
    try:
        recipe = prompted_recipe_from(read_json(folder / RUN))
    except (KeyError, ConfigError) as error:
        raise DataError(f"{folder / RUN} is no recipe of a run: copy the run's folder here again") from error
    weights = finished_weights(folder, recipe.train.epochs)
    # What depends on the encoder alone stands in the weights themselves.
    width, rows = weights["module.sound.weight"].shape[1], weights["module.gpt.transformer.wpe.weight"].shape[0]
    steps = rows - recipe.writer.prompt_tokens - recipe.writer.answer_tokens
    writer = averaged_model(PromptedWriter(recipe.writer, width, steps), weights, folder, RUN)
    return writer, load_tokenizer(folder / TOKENIZER), recipe
