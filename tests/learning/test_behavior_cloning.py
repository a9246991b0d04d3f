"""Training resumes to the bit, shares batches between processes, keeps the best, and stops without losing anything."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf

from robolearn import cli
from robolearn.batch import WindowBatch
from robolearn.checkpoint import load_model, open_checkpoint
from robolearn.config import compose
from robolearn.datasets.sampler import WindowSampler
from robolearn.datasets.store import DemoStore
from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning import behavior_cloning
from robolearn.learning.behavior_cloning import train
from robolearn.learning.parallel import Shard
from robolearn.learning.rollout import RolloutResult
from robolearn.learning.state_noise import StateNoise
from robolearn.learning.trainer import Trainer, TrainingSettings
from robolearn.logger import read_metrics
from robolearn.run import Run, start_run
from tests.fakes import POINT_REACH_SPEC
from tests.policies.small import HORIZON, KEYS, numbers, observations, random_batch, small_diffusion, small_mlp

WINDOWS = 40
POLICIES: dict[str, Callable[[], Any]] = {
    "diffusion": lambda: small_diffusion(observation_noise=0.1),
    "mlp": lambda: small_mlp(dropout=0.3),  # dropout draws from torch's global generator
    "augmented": lambda: small_diffusion(),
}
AUGMENTATION = {"augmented": [StateNoise(POINT_REACH_SPEC, KEYS, share=0.5)]}


class Windows:
    """Fixed windows; ``at`` maps a count of batches to what happens then."""

    def __init__(self, at: dict[int, Callable[[WindowBatch], object]] | None = None) -> None:
        self.all, self.at, self.count = random_batch(WINDOWS, pad=1), at or {}, 0

    def __len__(self) -> int:
        return WINDOWS

    def batch(self, indices: NDArray[np.int64]) -> WindowBatch:
        self.count += 1
        seen = {name: values[indices] for name, values in self.all.observations.items()}
        batch = WindowBatch(seen, self.all.actions[indices], self.all.is_pad[indices])
        self.at.get(self.count, lambda _: None)(batch)
        return batch


def make_trainer(policy: str = "diffusion", data: Windows | None = None, held_out: bool = False, **options: Any) -> Trainer:
    torch.manual_seed(0)
    settings = TrainingSettings(**{"steps": 8, "batch_size": 12, "warmup_steps": 2, "log_every": 1, "ema_decay": 0.5, **options})
    sampler = WindowSampler(WINDOWS, settings.batch_size, settings.seed)
    validation, changes = Windows() if held_out else None, AUGMENTATION.get(policy, ())
    return Trainer(POLICIES[policy](), {"_target_": "x"}, data or Windows(), sampler, settings, validation, augmentation=changes)


def make_run(folder: Path, **options: Any) -> Run:
    return start_run(OmegaConf.create({"out": str(folder), "tensorboard": False, **options}), "train")


@pytest.mark.parametrize("policy", POLICIES)
def test_half_and_a_resumed_half_equal_the_whole_to_the_bit(policy: str, tmp_path: Path) -> None:
    whole = make_trainer(policy)
    losses = [whole.step()["loss"] for _ in range(8)]
    torch.manual_seed(0)
    half = make_trainer(policy)
    for _ in range(4):
        half.step()
    half.save(tmp_path)
    torch.manual_seed(123)
    rest = make_trainer(policy)
    rest.load(open_checkpoint(tmp_path))
    assert [rest.step()["loss"] for _ in range(4)] == losses[4:]
    for mine, theirs in ((rest.model, whole.model), (rest.ema.model, whole.ema.model)):
        for name, value in mine.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name


def test_a_stopped_run_resumes_through_the_loop_and_its_log_has_every_step_once(tmp_path: Path) -> None:
    def press_ctrl_c(_: WindowBatch) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), make_run(tmp_path / "run") as run:
        train(make_trainer(data=Windows({3: press_ctrl_c}), checkpoint_every=100), run)
    assert open_checkpoint(tmp_path / "run").meta["step"] == 3  # the step under way was finished and saved
    rest = make_trainer()
    rest.load(open_checkpoint(tmp_path / "run"))
    with make_run(tmp_path / "run", resume=True) as run:
        train(rest, run)
    with make_run(tmp_path / "whole") as run:
        train(make_trainer(), run)
    lines, whole = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("run", "whole"))
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert [line["train/loss"] for line in lines] == [line["train/loss"] for line in whole]
    stopped, through = (open_checkpoint(tmp_path / name).tensors("ema") for name in ("run", "whole"))
    assert all(torch.equal(stopped[name], through[name]) for name in through)


def test_a_loss_that_is_not_finite_names_its_step_and_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    def poison(batch: WindowBatch) -> None:
        batch.actions[0, 0, 0] = np.nan

    with pytest.raises(UserError, match=r"step 3: the loss is nan.*resume=true"), make_run(tmp_path / "run") as run:
        train(make_trainer(data=Windows({3: poison}), checkpoint_every=1), run)
    checkpoint = open_checkpoint(tmp_path / "run")
    assert checkpoint.meta["step"] == 2
    assert all(value.isfinite().all() for value in checkpoint.tensors("model").values())


def test_the_best_checkpoint_has_the_most_success_and_then_the_least_validation_loss(tmp_path: Path) -> None:
    successes = iter([0.0, 0.5, 0.25, 0.5])

    def judge(model: torch.nn.Module) -> RolloutResult:
        wins = np.arange(4) < 4 * next(successes)
        return RolloutResult(np.arange(4), wins, np.full(4, 9), np.stack([wins, wins], 1), wins.astype(float))

    trainer = make_trainer(held_out=True, validate_every=2)
    with make_run(tmp_path / "run") as run:
        record = train(trainer, run, judge, evaluate_every=2)
    lines = {line["step"]: line for line in read_metrics(tmp_path / "run" / "metrics.jsonl")}
    assert [lines[step]["eval/success"] for step in (2, 4, 6, 8)] == [0.0, 0.5, 0.25, 0.5]
    assert lines[8]["validation/loss"] < lines[4]["validation/loss"]  # so the tie goes to the later one
    assert record.best_step == 8
    assert open_checkpoint(tmp_path / "run").meta["step"] == 8
    assert len(list((tmp_path / "run" / "checkpoints").glob("step_*"))) == 1


def test_chosen_steps_are_kept_beside_the_last(tmp_path: Path) -> None:
    with make_run(tmp_path / "run") as run:
        train(make_trainer(steps=7, checkpoint_every=2, keep_every=3), run)
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("step_*")) == [
        "step_0000003",
        "step_0000006",
        "step_0000007",
    ]


def test_a_budget_of_minutes_ends_training_and_lowers_the_learning_rate_with_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: 0.01 * next(ticks))
    trainer = make_trainer(steps=None, minutes=0.01)
    record = train(trainer)
    assert record.seconds == pytest.approx(0.6, abs=0.05)
    assert trainer.optimizer.param_groups[0]["lr"] < 0.05 * trainer.settings.lr


def test_validation_judges_the_averaged_weights_with_the_same_noise_every_time() -> None:
    trainer = make_trainer(held_out=True)
    assert trainer.validate() == trainer.validate()
    before = trainer.validate()
    for _ in range(8):
        trainer.step()
    assert trainer.validate() != before
    trainer.model.load_state_dict({name: 0 * value for name, value in trainer.model.state_dict().items()})
    assert trainer.validate() == trainer.record.validation_loss


@pytest.mark.parametrize("policy", ["diffusion"])
def test_shards_of_a_batch_have_the_mean_loss_and_gradient_of_the_batch(policy: str) -> None:
    model, batch = POLICIES[policy](), random_batch(12, pad=2).torch()
    whole, _ = model.loss(batch, torch.Generator().manual_seed(5))
    parts = []
    for start in (0, 6):
        rows = slice(start, start + 6)
        part = WindowBatch({name: value[rows] for name, value in batch.observations.items()}, batch.actions[rows], batch.is_pad[rows])
        parts.append(model.loss(part, torch.Generator().manual_seed(5), Shard(start, 6, 12))[0])
    torch.testing.assert_close(sum(parts) / 2, whole, atol=1e-6, rtol=1e-6)


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "reach.zarr"
    store = DemoStore.create(path, POINT_REACH_SPEC)
    for number in range(6):
        batch = random_batch(20, seed=number)
        seen = {name: batch.observations[name][:, 0] for name in KEYS} | {"gripper_width": np.full((20, 1), 0.08, np.float32)}
        rewards = np.zeros(20, np.float32)
        store.append(Episode(seen, batch.actions[:, 0], rewards, True, False, True, provenance={"source": "expert", "seed": number}))
    return path


def options(store: Path, out: Path) -> list[str]:
    return [
        f"store={store}",
        f"out={out}",
        "policy.observation_keys=[tcp_pos,goal]",
        f"policy.prediction_horizon={HORIZON}",
        "policy.hidden=32",
        "policy.precision=float32",
        "evaluation.every=0",
        "training.steps=6",
        "training.batch_size=16",
        "training.log_every=1",
        "tensorboard=false",
        "threads=1",
    ]


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(demonstrations: Path, tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "robolearn"]
    noise = "augmentation.state.share=0.5"
    together = [sys.executable, *launcher, "train", *options(demonstrations, tmp_path / "two"), noise]
    subprocess.run(together, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, timeout=120)
    assert behavior_cloning.main(compose("train", [*options(demonstrations, tmp_path / "one"), noise])) == 0
    one, two = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert len(one) == 6
    for name in ("train/loss", "train/grad_norm"):
        np.testing.assert_allclose([line[name] for line in one], [line[name] for line in two], atol=1e-6)
    single, double = (open_checkpoint(tmp_path / name).tensors("ema") for name in ("one", "two"))
    for name, value in single.items():
        torch.testing.assert_close(value, double[name], atol=1e-5, rtol=1e-4)


def test_the_command_makes_a_policy_that_loads_from_its_folder_alone(
    demonstrations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert behavior_cloning.main(compose("train", [*options(demonstrations, out), "json=true"])) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["step"], printed["out"]) == (6, str(out))
    policy = load_model(out)
    assert policy.observation_keys == ("tcp_pos", "goal")
    assert policy.sample(observations(3), *numbers(3)).shape == (3, 1, HORIZON, 10)
    assert open_checkpoint(out).meta["stores"] == [str(demonstrations)]
    assert behavior_cloning.main(compose("train", [*options(demonstrations, out), "resume=true", "training.steps=8"])) == 0
    assert open_checkpoint(out).meta["step"] == 8


def test_a_run_goes_on_with_the_demonstrations_it_began_with_wherever_they_lie(demonstrations: Path, tmp_path: Path) -> None:
    out, moved, grown = tmp_path / "run", tmp_path / "moved.zarr", tmp_path / "grown.zarr"
    assert behavior_cloning.main(compose("train", options(demonstrations, out))) == 0
    shutil.copytree(demonstrations, moved)
    shutil.copytree(demonstrations, grown)
    with DemoStore.open(grown, "a") as store:
        store.append(store.episode(0))
    with pytest.raises(UserError, match="holds other episodes: give the same store="):
        behavior_cloning.main(compose("train", [*options(grown, out), "resume=true", "training.steps=8"]))
    assert behavior_cloning.main(compose("train", [*options(moved, out), "resume=true", "training.steps=8"])) == 0


def test_a_run_does_not_go_on_with_episodes_that_were_marked_otherwise_since(demonstrations: Path, tmp_path: Path) -> None:
    plain, weighted, marked = tmp_path / "plain", tmp_path / "weighted", tmp_path / "marked.zarr"
    weights = "sampler.weights={outcome: {success: 2.0}}"
    assert behavior_cloning.main(compose("train", options(demonstrations, plain))) == 0
    assert behavior_cloning.main(compose("train", [*options(demonstrations, weighted), weights])) == 0
    assert cli.main(["data", "label", f"store={demonstrations}", f"out={marked}", "episode=0", "success=false"]) == 0
    with pytest.raises(UserError, match=r"outcomes of .*marked.zarr were marked otherwise"):
        behavior_cloning.main(compose("train", [*options(marked, weighted), weights, "resume=true", "training.steps=8"]))
    assert (
        behavior_cloning.main(compose("train", [*options(marked, plain), "resume=true", "training.steps=8"])) == 0
    )  # nothing goes by them


def test_a_run_does_not_go_on_with_another_policy(demonstrations: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert behavior_cloning.main(compose("train", options(demonstrations, out))) == 0
    with pytest.raises(UserError, match=r"policy.observation_noise is 0.5, it was 0.02"):
        behavior_cloning.main(
            compose("train", [*options(demonstrations, out), "policy.observation_noise=0.5", "resume=true", "training.steps=8"])
        )


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["policy.observation_keys=[tcp_po]"], "did you mean 'tcp_pos'"),
        (["training.steps=-5"], "training.steps takes a whole number, at least 0"),
        (["store=[]"], "no store given"),
        (["policy.hidden=-3"], "policy.hidden takes a whole number, at least 0"),
        (["policy.hidden=0"], "would hold no weights; sizes of layers are at least 1"),
        (["training.steps=null"], "give training.steps or training.minutes"),
        (["training.batch_size=0"], "batch_size must be at least 1"),
        (["training.lr=-1"], "training.lr must be above 0"),
        (["training.max_grad_norm=-1"], "training.max_grad_norm must be above 0"),
        (["training.ema_decay=2"], "training.ema_decay must be from 0 to 1"),
        (["policy.observation_noise=-1"], "observation_noise must be at least 0"),
        (["device=cuda:7"], "no device 'cuda:7' here; there are cpu"),
        (["store=nowhere.zarr"], "nowhere.zarr"),
        (["policy.network=lstm"], "there are mlp, unet"),
        (["out=null", "resume=true"], "name its folder, out="),
        (["threads=0"], "threads must be at least 1"),
        (["augmentation.state.share=2"], "share must be from 0 to 1"),
        (["augmentation.state.share=0.2", "augmentation.state.keys=[gripper_width]"], "which the policy does not read"),
        (["policy.actions=delta"], "the policy must read tcp_pos"),
    ],
)
def test_a_mistake_is_answered_in_a_line_and_leaves_no_run_behind(
    change: list[str], message: str, demonstrations: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        behavior_cloning.main(compose("train", [*options(demonstrations, tmp_path / "run"), *change]))
    assert not (tmp_path / "run").exists()
