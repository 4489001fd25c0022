"""Two ranks on the CPU (gloo, under torchrun) learn what one learns; a rank that dies ends the run, which goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_aac.errors import ConfigError
from quantize.training.distributed import World, gather_with_gradient, share_of_mean
from quantize.training.recipe import Recipe
from quantize.training.sources import SceneSource
from quantize.training.train import Run
from tests.made_once import made_once
from tests.quantize.training.loop_cases import SETTINGS, Curve, trainer, weights

ROOT = Path(__file__).parents[3]


def under_torchrun(folder: Path, *jobs: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Trainings on two ranks, one after the other."""
    listed = folder / "jobs.json"
    listed.write_text(json.dumps(jobs), encoding="utf-8")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "tests.quantize.training.loop_cases", str(listed),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment)


@dataclass(frozen=True)
class TwoRanks:
    """What two ranks did; each folder holds a run.

    Attributes:
        killed_code: exit code of the launcher of the ranks of which one was killed.
        steps_kept: steps of that run's last checkpoint, before it went on.
        last_code: exit code of the ranks whose last run came to a loss that is not finite.
        errors: what those said.
    """

    folder: Path
    recipe: Recipe
    killed_code: int
    steps_kept: int
    last_code: int
    errors: str

    def losses(self, name: str) -> list[float]:
        return json.loads((self.folder / name / "losses.json").read_text(encoding="utf-8"))


@pytest.fixture
def captioner_recipe(small_recipe: Recipe) -> Recipe:
    """Forty steps of the small captioner, with its batch norms and dropout; its batch is eight scenes."""
    settings = replace(
        small_recipe.train,
        epochs=1,
        scenes_per_epoch=320,
        batch_scenes=8,
        corpus_scenes=40,
        validation_scenes=2,
        learning_rate=0.003,
    )
    return replace(small_recipe, train=settings)


@pytest.fixture
def two_ranks(tmp_path_factory: pytest.TempPathFactory, captioner_recipe: Recipe, recordings: Path) -> TwoRanks:
    """All that two ranks do here, in two starts of them: each imports torch thrice."""

    def run(folder: Path) -> None:
        broken = {"folder": str(folder / "broken"), "dropout": 0.3}
        killed = under_torchrun(folder, {**broken, "struck_rank": 1, "call": 10, "signal": signal.SIGKILL})
        kept = torch.load(folder / "broken" / "last.pt", weights_only=True)["steps_done"]
        captioner = {
            "folder": str(folder / "captioner"),
            "recipe": asdict(captioner_recipe),
            "data": str(recordings),
        }
        done = under_torchrun(
            folder,
            {"folder": str(folder / "plain"), "dropout": 0.0},
            {"folder": str(folder / "dropout"), "dropout": 0.3},
            captioner,
            broken,
            # The last: it ends all.
            {"folder": str(folder / "spoilt"), "dropout": 0.0, "spoilt_rank": 1, "call": 10},
        )
        assert (folder / "broken" / "losses.json").exists(), killed.stderr + done.stderr
        told = {
            "killed_code": killed.returncode,
            "steps_kept": kept,
            "last_code": done.returncode,
            "errors": done.stderr,
        }
        (folder / "told.json").write_text(json.dumps(told), encoding="utf-8")

    folder = made_once(tmp_path_factory, "two-ranks", run)
    return TwoRanks(folder, captioner_recipe, **json.loads((folder / "told.json").read_text(encoding="utf-8")))


def test_two_ranks_give_the_losses_and_weights_of_one(two_ranks: TwoRanks, tmp_path: Path) -> None:
    alone, curve = trainer(tmp_path), Curve()
    alone.train(curve)
    assert len(curve.losses) == 12
    assert two_ranks.losses("plain") == pytest.approx(curve.losses, abs=1e-4)
    assert torch.allclose(weights(trainer(two_ranks.folder / "plain")), weights(alone), atol=1e-4)
    assert curve.losses[-1] < curve.losses[0]


def test_two_ranks_train_the_captioner_as_one_does(two_ranks: TwoRanks, recordings: Path, tmp_path: Path) -> None:
    """Batch norms over half the scenes and other dropout move single losses; the curve stays where it was.

    On one rank other dropout alone moved it by 5.0 % and 5.2 % of its fall, two ranks by 5.1 %.
    """
    curve = Curve()
    Run(two_ranks.recipe, SceneSource(two_ranks.recipe, recordings), tmp_path / "alone").train(curve)
    one, two = np.array(curve.losses), np.array(two_ranks.losses("captioner"))
    assert len(one) == len(two) == 40
    fall = one[:5].mean() - one[-5:].mean()
    assert fall > 1.0
    assert np.abs(one - two).mean() < 0.1 * fall


def test_rank_that_dies_ends_the_run_which_goes_on_to_the_same_weights(two_ranks: TwoRanks) -> None:
    assert two_ranks.killed_code != 0
    assert two_ranks.steps_kept == 8
    unbroken, broken = (weights(trainer(two_ranks.folder / name)) for name in ("dropout", "broken"))
    assert torch.equal(unbroken, broken)
    assert two_ranks.losses("broken") == two_ranks.losses("dropout")[8:]


def test_a_loss_that_is_not_finite_on_one_rank_ends_all(two_ranks: TwoRanks) -> None:
    assert two_ranks.last_code != 0
    assert two_ranks.errors.count("ConfigError: no finite loss at step 10 of") == 2, two_ranks.errors
    state = torch.load(two_ranks.folder / "spoilt" / "last.pt", weights_only=True)
    assert state["steps_done"] == 8
    assert all(bool(tensor.isfinite().all()) for tensor in state["averaged"].values())


def test_ranks_draw_different_dropout(two_ranks: TwoRanks) -> None:
    """Two ranks with the same draws would keep the same random state."""
    first, second = torch.load(two_ranks.folder / "dropout" / "last.pt", weights_only=True)["random_states"]
    assert not torch.equal(first[0], second[0])


def test_run_of_two_ranks_can_go_on_alone(two_ranks: TwoRanks, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        trainer(broken, terms=_interrupted_after(9), dropout=0.3).train(Curve())
    state = torch.load(broken / "last.pt", weights_only=True)
    state["random_states"] *= 2
    torch.save(state, broken / "last.pt")
    rest = Curve()
    trainer(broken, dropout=0.3).train(rest)
    assert len(rest.losses) == 12 - 8


def _interrupted_after(calls: int) -> Any:
    from tests.quantize.training.loop_cases import Strike

    return Strike(calls, signal.SIGINT)


def test_alone_everything_is_the_identity() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather_with_gradient(rows) is rows
    assert float(share_of_mean(torch.tensor(7))) == 1.0
    world = World.from_environment({})
    assert (world.rank, world.size, world.first) == (0, 1, True)
    assert world.mean({"loss": 0.1}) == {"loss": 0.1}
    assert world.any(True) and not world.any(False)
    assert world.gathered("state") == ["state"]
    world.barrier()


def test_shares_are_the_batch() -> None:
    batch = range(16, 32)
    shares = [World(rank, 4).share(batch) for rank in range(4)]
    assert sorted(row for share in shares for row in share) == list(batch)
    assert {len(share) for share in shares} == {4}
    with pytest.raises(ConfigError, match="--nproc-per-node"):
        World(0, 3).share(batch)


@pytest.mark.parametrize("environment", [{"RANK": "0"}, {"RANK": "0", "WORLD_SIZE": "two", "LOCAL_RANK": "0"}])
def test_half_an_environment_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="torchrun"):
        World.from_environment(environment)


def test_one_process_under_torchrun_needs_no_group() -> None:
    with World.from_environment({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}) as world:
        assert world.size == 1
        assert not torch.distributed.is_initialized()
    assert SETTINGS.batch_scenes % 2 == 0


def test_alone_what_rank_0_makes_first_is_made_once() -> None:
    made: list[int] = []
    assert World().first_alone(lambda: made.append(1) or made) == [1]
