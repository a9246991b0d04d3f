"""The finetune verb: budgets, the best and the last checkpoint, exact resume, and errors that leave the work done so far."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from robolearn.checkpoint import load_model, open_checkpoint, save_checkpoint
from robolearn.errors import UserError
from robolearn.learning.finetune import main
from robolearn.learning.rollout import rollout
from robolearn.lock import WriterLock
from robolearn.logger import read_metrics
from robolearn.policies.residual import residual_policy
from robolearn.seeding import split_seeds
from tests.fake_sampler import ScriptedSampler
from tests.fakes import POINT_REACH_SPEC, PointReach, point_reach_normalizer

STEPS = 16 * 32  # of one iteration


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save_checkpoint(
        tmp_path / "base",
        1,
        config={"_target_": "tests.fake_sampler.ScriptedSampler"},
        env_spec=POINT_REACH_SPEC,
        normalizer=point_reach_normalizer(),
        tensors={"model": ScriptedSampler(bias=0.026).state_dict()},
    )


def configure(base: Path, out: Path, **changes):
    document = {
        "base": str(base),
        "base_options": {},
        "task": {"env": {"_target_": "tests.fakes.PointReach"}},
        "model": {"_target_": "robolearn.policies.residual.ResidualModel", "hidden": [32]},
        "policy": {"_target_": "robolearn.policies.residual.residual_policy"},
        "learner": {
            "_target_": "robolearn.learning.residual_ppo.ResidualPPO",
            "horizon": 32,
            "minibatch": 256,
            "epochs": 4,
            "critic_iterations": 1,
            "actor_lr": 0.002,
            "gamma": 0.97,
        },
        "num_envs": 16,
        "seeds": [0],
        "threads": 1,
        "parallel": 1,
        "env_steps": 4 * STEPS,
        "minutes": None,
        "evaluation": {"every": 2, "episodes": 32},
        "checkpoint_every": 1,
        "name": "",
        "out": str(out),
        "resume": False,
        "overwrite": False,
        "tensorboard": False,
    }
    return OmegaConf.create({**document, **changes})


def weights_of(run: Path, link: str = "last") -> dict[str, torch.Tensor]:
    return open_checkpoint(run / "seed_0" / "checkpoints" / link).tensors("model")


def test_half_the_steps_and_a_resumed_half_equal_all_of_them_to_the_bit(base, tmp_path):
    main(configure(base, tmp_path / "through"))
    main(configure(base, tmp_path / "halves", env_steps=2 * STEPS))
    main(configure(base, tmp_path / "halves", resume=True))
    through, halves = weights_of(tmp_path / "through"), weights_of(tmp_path / "halves")
    assert all(torch.equal(through[name], halves[name]) for name in through)
    lines = [read_metrics(tmp_path / name / "seed_0" / "metrics.jsonl") for name in ("through", "halves")]
    assert [line["step"] for line in lines[0]] == [line["step"] for line in lines[1]] == [index * STEPS for index in range(5)]
    assert [line.get("ppo/kl") for line in lines[0]] == [line.get("ppo/kl") for line in lines[1]]


def test_the_best_checkpoint_is_self_contained_and_scores_what_it_was_kept_for(base, tmp_path):
    main(configure(base, tmp_path / "run", env_steps=30 * STEPS, evaluation={"every": 10, "episodes": 64}))
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    record = result["seeds"]["0"]
    assert record["base_success"] < 0.5 and record["best_success"] > 0.8
    base.rename(base.with_name("elsewhere"))
    model = load_model(tmp_path / "run")  # a run folder opens its best checkpoint
    again = rollout(PointReach(16), residual_policy(model, 16), split_seeds("search", 64))
    assert again.success_rate == record["best_success"]
    assert model.base.bias[0] == pytest.approx(0.026)
    steps = {link.resolve().name for link in (tmp_path / "run" / "seed_0" / "checkpoints").iterdir()}
    assert len(steps) <= 2  # the best and the last


def test_several_seeds_train_in_one_command_and_differ(base, tmp_path):
    main(configure(base, tmp_path / "run", seeds=[0, 1], env_steps=2 * STEPS))
    first, second = (open_checkpoint(tmp_path / "run" / f"seed_{seed}" / "checkpoints" / "last") for seed in (0, 1))
    assert not torch.equal(first.tensors("model")["critic.0.weight"], second.tensors("model")["critic.0.weight"])
    assert set(json.loads((tmp_path / "run" / "result.json").read_text())["seeds"]) == {"0", "1"}


def test_parallel_seeds_equal_sequential_ones(base, tmp_path):
    main(configure(base, tmp_path / "one_by_one", seeds=[0, 1], env_steps=STEPS))
    main(configure(base, tmp_path / "together", seeds=[0, 1], parallel=2, env_steps=STEPS))
    first, second = weights_of(tmp_path / "one_by_one"), weights_of(tmp_path / "together")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_killed_worker_is_one_line_that_says_how_to_go_on(base, tmp_path):
    learner = {"_target_": "tests.learning.test_residual_finetune.Killed"}
    with pytest.raises(OSError, match=r"the process of seed \d was killed by signal 9") as caught:
        main(configure(base, tmp_path / "run", seeds=[0, 1], parallel=2, learner=learner))
    assert "go on with: robolearn finetune" in caught.value.__notes__[0]


class Killed:
    """A learner that the system kills, as it does when memory runs out."""

    def begin(self, *arguments):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_seed_that_another_process_trains_is_left_alone(base, tmp_path):
    (tmp_path / "run").mkdir()
    with WriterLock(tmp_path / "run" / "seed_0"), pytest.raises(UserError, match="seed_0 is being written by process"):
        main(configure(base, tmp_path / "run"))


def test_minutes_are_a_budget_too(base, tmp_path):
    main(configure(base, tmp_path / "run", env_steps=None, minutes=1e-4))
    assert len(read_metrics(tmp_path / "run" / "seed_0" / "metrics.jsonl")) <= 2


def test_ctrl_c_saves_the_iteration_and_resume_goes_on_from_it(base, tmp_path, monkeypatch):
    from robolearn.learning.residual_ppo import PPOLearner

    iterate = PPOLearner.iterate

    def press_ctrl_c(self, progress=0.0):
        metrics = iterate(self, progress)
        if self.iteration == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return metrics

    monkeypatch.setattr(PPOLearner, "iterate", press_ctrl_c)
    with pytest.raises(KeyboardInterrupt) as caught:
        main(configure(base, tmp_path / "run", checkpoint_every=100))
    assert "resume=true" in caught.value.__notes__[0]
    monkeypatch.undo()
    assert open_checkpoint(tmp_path / "run" / "seed_0" / "checkpoints" / "last").meta["step"] == 2 * STEPS
    main(configure(base, tmp_path / "run", resume=True))
    main(configure(base, tmp_path / "through"))
    resumed, through = weights_of(tmp_path / "run"), weights_of(tmp_path / "through")
    assert all(torch.equal(resumed[name], through[name]) for name in through)


def test_a_loss_that_is_not_finite_keeps_the_last_checkpoint(base, tmp_path, monkeypatch):
    from robolearn.learning.ppo import PPO

    update = PPO.update

    def spoil(self, samples, **options):
        if self.generator.initial_seed() == 0 and hasattr(self, "updates"):
            samples.returns[0] = float("nan")
        self.updates = 1
        return update(self, samples, **options)

    monkeypatch.setattr(PPO, "update", spoil)
    with pytest.raises(UserError, match="nan"):
        main(configure(base, tmp_path / "run"))
    assert open_checkpoint(tmp_path / "run" / "seed_0" / "checkpoints" / "last").meta["step"] == STEPS


def test_a_base_of_another_task_is_refused(base, tmp_path):
    task = {"env": {"_target_": "tests.learning.test_residual_finetune.SlowPointReach"}}
    with pytest.raises(UserError, match="Hz"):
        main(configure(base, tmp_path / "run", task=task))


class SlowPointReach(PointReach):
    env_spec = type(POINT_REACH_SPEC)(**{**vars(POINT_REACH_SPEC), "control_hz": 5.0})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"env_steps": -5}, "env_steps must not be negative"),
        ({"env_steps": None}, "give env_steps or minutes"),
        ({"evaluation": {"every": 0, "episodes": 8}}, "evaluation.every must be at least 1"),
        ({"num_envs": 0}, "at least one world"),
        ({"parallel": 0}, "parallel must be at least 1"),
        ({"seeds": []}, "different whole numbers"),
        ({"seeds": [0, 0]}, "different whole numbers"),
        ({"seeds": [0.5]}, "different whole numbers"),
        ({"seeds": [-1]}, "different whole numbers"),
    ],
)
def test_a_mistake_is_answered_in_a_line_and_leaves_no_run_behind(base, tmp_path, changes, says):
    with pytest.raises(UserError, match=says):
        main(configure(base, tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["actor_lr", "critic_lr", "max_grad_norm", "clip", "target_kl"])
def test_a_rate_that_is_not_positive_is_refused_before_anything_runs(base, tmp_path, option):
    learner = {**configure(base, tmp_path).learner, option: -1.0}
    with pytest.raises(UserError, match=f"{option} must be above 0, got -1"):
        main(configure(base, tmp_path / "run", learner=learner))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("changed", ["trained anew", "another"])
def test_a_run_is_not_gone_on_with_on_another_base(base, tmp_path, changed):
    main(configure(base, tmp_path / "run", env_steps=STEPS))
    before = weights_of(tmp_path / "run")
    other = save_checkpoint(
        base.parent if changed == "trained anew" else tmp_path / "other",
        2,
        config={"_target_": "tests.fake_sampler.ScriptedSampler"},
        env_spec=POINT_REACH_SPEC,
        normalizer=point_reach_normalizer(),
        tensors={"model": ScriptedSampler(bias=0.01).state_dict()},
    )
    if changed == "trained anew":
        shutil.rmtree(base)
        other.rename(base)
        other = base
    with pytest.raises(UserError, match=r"refines another base .* or another out="):
        main(configure(other, tmp_path / "run", resume=True))
    after = weights_of(tmp_path / "run")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_is_no_chunk_policy_is_not_refined(base, tmp_path):
    main(configure(base, tmp_path / "first", env_steps=STEPS))
    with pytest.raises(UserError, match="refines a policy that draws chunks; this base is a ResidualModel"):
        main(configure(tmp_path / "first", tmp_path / "second"))


def test_the_outcome_is_one_json_object_where_asked(base, tmp_path, capsys):
    main(configure(base, tmp_path / "run", env_steps=STEPS, json=True))
    printed = json.loads(capsys.readouterr().out)
    assert (printed["out"], printed["best_seed"], list(printed["seeds"])) == (str(tmp_path / "run"), 0, ["0"])
