"""A task from end to end: the set in a folder, the bundle, the scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.names import bundle_names
from edge_aac.bundle.store import Bundle, open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import UsageError
from edge_aac.models.contract import WindowModel
from edge_aac.models.label_texts import BLANK
from edge_aac.models.opening import open_named
from quantize.data.task_sets.contract import ChosenPart, SetPart, TaskRecording
from quantize.data.task_sets.finding import captioned_set, labelled_set, question_set
from quantize.evaluation.corpus import CaptionedCorpus, caption_corpus
from quantize.evaluation.evaluate import Identified, MetricChoices, corpus_tables, model_facts
from quantize.evaluation.tasks.answer import AnsweredQuestion, answer_questions, question_answering
from quantize.evaluation.tasks.answerers import answerer_of
from quantize.evaluation.tasks.classify import ClassifiedRecording, classification, label_texts
from quantize.evaluation.tasks.clip_listening import ClipListener, hears_clips
from quantize.evaluation.tasks.listeners import Listener, WindowListener
from quantize.evaluation.tasks.listening import AudioClip, Compared
from quantize.evaluation.tasks.retrieve import RankedQuery, retrieval
from quantize.evaluation.tasks.sounds import set_of_sounds
from quantize.evaluation.windows import attributions_of

Progress = Callable[[int], None]


@dataclass(frozen=True)
class TaskRun:
    """What a task is run with.

    Attributes:
        names: name or path of a bundle, or several with commas.
        data: folder of the set.
        part: of the set.
        weights: one a bundle; None weighs all alike.
        choices: settings in which the user overrules the bundle, by name; None is no choice.
        seed: seed of the candidates.
        compared: what is compared with texts; None leaves it to the bundle.
        templates: each makes a text of a label, which takes the place of ``{}``, and their mean is what recordings are
            compared with; none leaves it to the bundle, see :class:`edge_aac.models.label_texts.LabelTexts`.
        sounds: whether the sounds of the lexicon that the set's labels mean take the labels' place.
        listed_sounds: the same, but all sounds that the bundle lists take part, as they do in its captions.
        progress: called with the number of recordings that were heard.
    """

    names: str
    data: Path
    part: ChosenPart = ChosenPart()
    weights: Sequence[float] | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    compared: Compared | None = None
    templates: Sequence[str] = ()
    sounds: bool = False
    listed_sounds: bool = False
    progress: Progress = lambda done: None

    def bundles(self) -> list[Bundle]:
        """The bundles; nothing of them is loaded."""
        return [open_bundle(name) for name in bundle_names(self.names)]

    def open(self) -> WindowModel:
        """The model.

        Raises:
            EdgeAacError: it cannot be run here.
        """
        return open_named(self.names, self.weights, EngineOptions(), self.choices)

    def listener(self, bundles: Sequence[Bundle]) -> Listener:
        """The model of ``bundles`` as what compares recordings with texts.

        Raises:
            UsageError: sounds are to be compared, and share no space with texts.
            EdgeAacError: it cannot be run here.
        """
        if hears_clips(bundles):
            return ClipListener(bundles[0], self.compared)
        return WindowListener(self.open(), bundles, self.compared)

    def command(self, task: str) -> str:
        """How it is measured again, without the folder and what the bundle was opened with."""
        words = f"edge-aac evaluate --task {task}"
        words += "" if self.part.fold is None else f" --fold {self.part.fold}"
        words += "" if self.part.split is None else f" --split {self.part.split}"
        words += "" if self.compared is None else f" --compare {self.compared.value}"
        words += "".join(f' --template "{template}"' for template in self.templates)
        words += " --listed-sounds" if self.listed_sounds else " --sounds" if self.sounds else ""
        return f"{words} --seed {self.seed}"


def evaluate_classify(run: TaskRun) -> tuple[dict[str, Any], list[ClassifiedRecording]]:
    """Zero-shot classification over the labels of a set.

    Raises:
        UsageError: the set, its part, the template or what is compared makes no sense here, or the bundle was trained
            on recordings of the part.
        EdgeAacError: the bundle cannot be opened, the set cannot be used.
    """
    for template in run.templates:
        if template.count(BLANK) != 1:
            raise UsageError(f"the template {template!r} does not hold {BLANK} once, where the label goes")
    labelled, bundles = labelled_set(run.data, run.part), run.bundles()
    check_unheard(bundles, [each.recording for each in labelled.recordings], labelled.about)
    sounds = set_of_sounds(labelled) if run.sounds or run.listed_sounds else None
    listener = run.listener(bundles)
    if sounds and run.listed_sounds:
        sounds = sounds.among(listener.sound_names, bundles[0].opened_as)
    labelled = sounds.labelled if sounds else labelled
    texts = label_texts(labelled.labels, listener, run.templates)
    clips = [AudioClip(each.recording.name, each.recording.path) for each in labelled.recordings]
    heard = listener.listen(clips, run.seed, run.progress)
    table, classified = classification(labelled, heard, listener, texts, sounds.coarser if sounds else None)
    wordings = dict(zip(labelled.labels, texts.sounds, strict=True))
    scores = {
        **_facts(run, listener.model, bundles, "classify", labelled.about),
        "compared": {"with": "the text embedding of each label", "what": listener.compared},
        "template": texts.templates[0],
        **({"templates": list(texts.templates)} if len(texts.templates) > 1 else {}),
        "own_wordings": {label: sound for label, sound in wordings.items() if sound is not None},
        **({"no_sound": dict(sounds.left_out)} if sounds else {}),
        "skipped": heard.skipped,
        "classification": table,
    }
    return scores, classified


def evaluate_retrieve(run: TaskRun) -> tuple[dict[str, Any], list[RankedQuery]]:
    """Recordings by their captions, and captions by their recordings.

    Raises:
        UsageError, EdgeAacError: as :func:`evaluate_classify`.
    """
    captioned, bundles = captioned_set(run.data, run.part), run.bundles()
    clips = captioned.manifest.clips
    check_unheard(bundles, [TaskRecording(clip.name, clip.path) for clip in clips], captioned.about)
    listener = run.listener(bundles)
    listened = [AudioClip(clip.name, clip.path, clip.start_s, clip.duration_s) for clip in clips]
    heard = listener.listen(listened, run.seed, run.progress)
    tables, queries = retrieval(clips, heard, listener)
    scores = {
        **_facts(run, listener.model, bundles, "retrieve", captioned.about),
        "compared": {"with": "the text embedding of each caption", "what": listener.compared},
        "skipped": {clip.name: clip.reason for clip in captioned.manifest.broken} | heard.skipped,
        **tables,
    }
    return scores, queries


def evaluate_caption(run: TaskRun, metrics: MetricChoices) -> tuple[dict[str, Any], CaptionedCorpus]:
    """What a bundle says of recordings, against reference captions.

    Raises:
        UsageError, EdgeAacError: as :func:`evaluate_classify`, and those of
            :mod:`quantize.evaluation.caption_metrics`.
    """
    captioned, bundles = captioned_set(run.data, run.part), run.bundles()
    recordings = [TaskRecording(clip.name, clip.path) for clip in captioned.manifest.clips]
    check_unheard(bundles, recordings, captioned.about)
    model = run.open()
    corpus = caption_corpus(model, captioned.manifest, run.seed, run.progress)
    facts = _facts(run, model, bundles, "caption", captioned.about)
    return {**facts, **corpus_tables(corpus, captioned.about.tables[0], metrics)}, corpus


def evaluate_aqa(run: TaskRun) -> tuple[dict[str, Any], list[AnsweredQuestion]]:
    """Answers to questions about recordings, against those of people.

    Raises:
        UsageError: the bundle answers no questions; and as :func:`evaluate_classify`.
        EdgeAacError: as :func:`evaluate_classify`.
    """
    asked, bundles = question_set(run.data, run.part), run.bundles()
    check_unheard(bundles, [question.recording for question in asked.questions], asked.about)
    model = run.open()
    answered, skipped = answer_questions(answerer_of(model, bundles[0]), asked.questions, run.progress)
    scores = {
        **_facts(run, model, bundles, "aqa", asked.about),
        "skipped": skipped,
        "question_answering": question_answering(answered),
    }
    return scores, answered


def check_unheard(bundles: Sequence[Bundle], recordings: Sequence[TaskRecording], about: SetPart) -> None:
    """Refuse a part of a set that a bundle says it was trained on.

    Names are compared without folders and suffixes: the same recording lies in other places in other collections. A
    path that the set lists in another part is that recording, and none of this part.

    Raises:
        UsageError: some of its recordings are among those.
        DataError: the bundle's list of its training recordings cannot be used.
    """
    for bundle in bundles:
        stems = {PurePosixPath(file).stem for file in attributions_of(bundle) if file not in about.others}
        heard = sorted({recording.name for recording in recordings if recording.stems & stems})
        if heard:
            raise UsageError(
                f"the bundle {bundle.opened_as} was trained on {len(heard)} recordings of {about.name}, {about.part}, "
                f"{heard[0]} for one: choose another part"
            )


def _facts(run: TaskRun, model: Identified, bundles: Sequence[Bundle], task: str, about: SetPart) -> dict[str, Any]:
    return {
        **model_facts(model, bundles[0], run.command(task), run.seed),
        "task": task,
        "measured_on": f"{about.name}, {about.part}",
        "tables": {table.name: file_sha256(table) for table in about.tables},
    }
