"""The trainer: broken off anywhere it goes on to the same weights; its log, checkpoints and precision."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edge_aac.errors import ConfigError, DataError
from quantize.training.distributed import World
from quantize.training.loop import Trainer
from quantize.training.precision import in_fp32, wants_bf16
from quantize.training.tensor_batch import TensorBatch
from tests.quantize.training.loop_cases import (
    Curve,
    Rows,
    Spoilt,
    Strike,
    Vectors,
    collate,
    objective,
    trainer,
    weights,
)

ROOT = Path(__file__).parents[3]
STEPS = 12  # two epochs of six; a checkpoint each four


def run_job(folder: Path, job: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """A training in a process of its own."""
    listed = folder / "jobs.json"
    listed.write_text(json.dumps([job]), encoding="utf-8")
    command = [sys.executable, "-m", "tests.quantize.training.loop_cases", str(listed)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def test_process_killed_midway_goes_on_to_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    unbroken = trainer(whole, dropout=0.3)
    unbroken.train(Curve())
    # The sixth step is the last of the first epoch; the checkpoint is four steps old when the process dies.
    killed = run_job(
        tmp_path,
        {"folder": str(broken), "dropout": 0.3, "workers": 1, "struck_rank": 0, "call": 6, "signal": signal.SIGKILL},
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert torch.load(broken / "last.pt", weights_only=True)["steps_done"] == 4
    resumed, rest = trainer(broken, dropout=0.3, workers=1), Curve()
    resumed.train(rest)
    assert len(rest.losses) == STEPS - 4
    assert torch.equal(weights(unbroken), weights(resumed))
    assert rows(whole) == rows(broken)


@pytest.mark.parametrize("call", [1, 5, 6, 7, 11, 12])
def test_breaking_off_at_any_step_changes_nothing(call: int, tmp_path: Path) -> None:
    unbroken, curve = trainer(tmp_path / "whole", dropout=0.3), Curve()
    unbroken.train(curve)
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path / "broken", dropout=0.3, terms=Strike(call, signal.SIGINT)).train(Curve())
    resumed, rest = trainer(tmp_path / "broken", dropout=0.3), Curve()
    resumed.train(rest)
    assert torch.equal(weights(unbroken), weights(resumed))
    assert rest.losses == curve.losses[STEPS - len(rest.losses) :]
    assert rows(tmp_path / "whole") == rows(tmp_path / "broken")


def test_dropout_is_not_the_same_at_every_step(tmp_path: Path) -> None:
    with_dropout, without = trainer(tmp_path / "a", dropout=0.3), trainer(tmp_path / "b", dropout=0.0)
    with_dropout.train(Curve())
    without.train(Curve())
    assert not torch.allclose(weights(with_dropout), weights(without))


@pytest.mark.parametrize(
    ("number", "call", "saved_steps"),
    [(signal.SIGTERM, 3, 3), (signal.SIGTERM, 6, 6), (signal.SIGTERM, 12, 12), (signal.SIGHUP, 3, 3)],
)
def test_request_to_end_waits_for_the_step_and_a_checkpoint(
    number: signal.Signals, call: int, saved_steps: int, tmp_path: Path
) -> None:
    def leave(*_: object) -> None:
        sys.exit(143)

    unbroken = trainer(tmp_path / "whole", dropout=0.3)
    unbroken.train(Curve())
    before = signal.signal(number, leave)
    try:
        with pytest.raises(SystemExit) as ended:
            trainer(tmp_path / "asked", dropout=0.3, terms=Strike(call, number)).train(Curve())
        assert signal.getsignal(number) is leave
    finally:
        signal.signal(number, before)
    assert ended.value.code == 143
    resumed = trainer(tmp_path / "asked", dropout=0.3)
    assert resumed.steps_done == saved_steps
    resumed.train(Curve())
    assert torch.equal(weights(unbroken), weights(resumed))
    assert rows(tmp_path / "whole") == rows(tmp_path / "asked")


def test_killed_in_its_validation_it_does_no_step_again(tmp_path: Path) -> None:
    def scores(averaged: nn.Module) -> dict[str, float]:
        assert not averaged.training
        assert not torch.is_grad_enabled()
        return {"first": float(next(averaged.parameters()).sum())}

    def killed(_: nn.Module) -> dict[str, float]:
        raise KeyboardInterrupt

    whole = trainer(tmp_path / "whole", validate=scores)
    last = whole.train(Curve())
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path / "broken", validate=killed).train(Curve())
    resumed, curve = trainer(tmp_path / "broken", validate=scores), Curve()
    assert (resumed.epochs_done, resumed.steps_done) == (0, STEPS // 2)
    assert resumed.train(curve) == last
    assert len(curve.losses) == STEPS // 2
    assert rows(tmp_path / "whole") == rows(tmp_path / "broken")
    assert [row["first"] for row in rows(tmp_path / "broken")][-1] == last["first"]


def of_no_finite_gradient(pair: Any, batch: Rows) -> dict[str, torch.Tensor]:
    terms = objective(pair, batch)
    return {**terms, "loss": terms["loss"] + (0.0 * pair.towers[0][0].weight).sqrt().sum()}


@pytest.mark.parametrize(("terms", "words"), [(Spoilt(7), "loss at step 7"), (of_no_finite_gradient, "gradient at")])
def test_what_is_not_finite_ends_the_run_and_spoils_no_checkpoint(terms: Any, words: str, tmp_path: Path) -> None:
    first = terms is of_no_finite_gradient
    with pytest.raises(ConfigError, match=f"no finite .*{words} .*learning_rate"):
        trainer(tmp_path, terms=terms, checkpoint_steps=1).train(Curve())
    if first:
        assert not (tmp_path / "last.pt").exists()
        return
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["steps_done"] == 6
    assert all(bool(tensor.isfinite().all()) for kept in ("trainee", "averaged") for tensor in state[kept].values())
    assert "NaN" not in (tmp_path / "log.jsonl").read_text(encoding="utf-8")


def test_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    trainer(tmp_path).train(Curve())
    before = (tmp_path / "log.jsonl").read_bytes()
    again, curve = trainer(tmp_path), Curve()
    assert again.train(curve) == {}
    assert curve.losses == []
    assert (tmp_path / "log.jsonl").read_bytes() == before


def test_log_forgets_what_is_run_again(tmp_path: Path) -> None:
    # Of 24 steps, row 20 is logged and then lost with the steps behind checkpoint 16.
    changes = {"scenes_per_epoch": 192, "epochs": 1, "checkpoint_steps": 8}
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, terms=Strike(22, signal.SIGINT), **changes).train(Curve())
    with (tmp_path / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": 2')  # torn by the kill
    assert rows_of_step(tmp_path) == 1
    trainer(tmp_path, **changes).train(Curve())
    assert [row.get("step", "epoch") for row in rows(tmp_path)] == [20, "epoch"]
    assert {"loss", "contrastive", "values", "learning_rate", "scenes_per_s"} <= set(rows(tmp_path)[0])


def rows_of_step(folder: Path) -> int:
    return (folder / "log.jsonl").read_text(encoding="utf-8").count('"step": 20')


def test_log_of_a_run_without_a_checkpoint_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 20}\n', encoding="utf-8")
    trainer(tmp_path).train(Curve())
    assert [row["epoch"] for row in rows(tmp_path)] == [1, 2]


def test_checkpoint_of_another_trainee_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path).train(Curve())
    with pytest.raises(DataError, match="new folder"):
        Trainer(nn.Linear(3, 3), objective, Vectors, collate, trainer(tmp_path / "other").settings, tmp_path)


def test_checkpoint_cut_short_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path).train(Curve())
    whole = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="new folder"):
        trainer(tmp_path)


def test_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1 training steps"):
        trainer(tmp_path, epochs=1, scenes_per_epoch=8)
    with pytest.raises(ConfigError, match="fp16"):
        trainer(tmp_path, precision="fp16")
    with pytest.raises(ConfigError, match="8 cannot be shared equally by 3"):
        trainer(tmp_path, World(0, 3))


def test_bf16_runs_the_modules_and_not_the_terms(tmp_path: Path) -> None:
    seen: set[torch.dtype] = set()

    def watched(pair: Any, batch: Rows) -> dict[str, torch.Tensor]:
        seen.add(pair.towers[0](batch.vectors).dtype)
        terms = objective(pair, batch)
        assert {term.dtype for term in terms.values()} == {torch.float32}
        return terms

    half, curve = trainer(tmp_path / "half", terms=watched, precision="bf16"), Curve()
    half.train(curve)
    assert seen == {torch.bfloat16}
    assert {parameter.dtype for parameter in half.trainee.parameters()} == {torch.float32}
    full, full_curve = trainer(tmp_path / "full", precision="auto"), Curve()
    full.train(full_curve)
    assert curve.losses == pytest.approx(full_curve.losses, rel=0.05)
    assert curve.losses != full_curve.losses


def test_terms_are_in_full_precision_within_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype == torch.bfloat16
        with in_fp32(product):
            assert (product.float() @ torch.ones(2, 2)).dtype == torch.float32


def test_half_precision_is_asked_for_on_the_cpu_only_by_name() -> None:
    cpu = torch.device("cpu")
    assert [wants_bf16(setting, cpu) for setting in ("auto", "fp32", "bf16")] == [False, False, True]


@dataclass(frozen=True)
class Inner:
    values: torch.Tensor
    name: str


@dataclass(frozen=True)
class Outer(TensorBatch):
    rows: torch.Tensor
    inner: Inner
    missing: torch.Tensor | None = None
    names: tuple[str, ...] = ()


def test_all_tensors_of_a_batch_move_together() -> None:
    batch = Outer(torch.ones(2), Inner(torch.ones(3), "inner"), names=("a", "b"))
    moved = batch.to(torch.device("meta"))
    assert (moved.rows.device.type, moved.inner.values.device.type) == ("meta", "meta")
    assert (moved.inner.name, moved.missing, moved.names) == ("inner", None, ("a", "b"))
    assert batch.rows.device.type == "cpu"


def test_objective_that_is_a_module_is_not_trained(tmp_path: Path) -> None:
    class WithTeacher(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.teacher = nn.Linear(2, 2)

        def forward(self, pair: Any, batch: Rows) -> dict[str, torch.Tensor]:
            return objective(pair, batch)

    run = trainer(tmp_path, terms=WithTeacher())
    run.train(Curve())
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert not any("teacher" in name for name in [*state["trainee"], *state["averaged"]])
    assert os.listdir(tmp_path).count("last.pt.new") == 0


def test_terms_of_a_step_are_not_fetched_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU each float() of a tensor waits for all that was started there."""
    fetched: list[torch.Tensor] = []
    whole, alone = torch.Tensor.tolist, torch.Tensor.__float__

    def to_list(tensor: torch.Tensor) -> Any:
        fetched.append(tensor)
        return whole(tensor)

    def to_float(tensor: torch.Tensor) -> float:
        raise AssertionError("a term is fetched by itself")

    made = trainer(tmp_path)
    batch = next(iter(made._batches(0)))
    monkeypatch.setattr(torch.Tensor, "tolist", to_list)
    monkeypatch.setattr(torch.Tensor, "__float__", to_float)
    values = made._step(batch)
    monkeypatch.setattr(torch.Tensor, "__float__", alone)
    assert len(fetched) == 1 and len(fetched[0]) == len(values) > 2
