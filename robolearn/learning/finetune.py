"""Refinement: a residual policy learns on top of a frozen base, seed after seed, within a budget of steps and minutes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from robolearn.checkpoint import Checkpoint, build, open_checkpoint, point_link, prune_checkpoints, save_checkpoint
from robolearn.errors import UserError, reading
from robolearn.learning.interrupt import Interrupt
from robolearn.learning.multitask import take_task
from robolearn.learning.processes import run_jobs
from robolearn.learning.rollout import rollout
from robolearn.lock import WriterLock
from robolearn.logger import Logger
from robolearn.nodes import instantiate, make_environment, to_dict
from robolearn.progress import Progress
from robolearn.protocols import Environment, Policy
from robolearn.run import start_run
from robolearn.seeding import split_seeds, training_seeds


class Learner(Protocol):
    """What refines a residual policy; :class:`robolearn.learning.residual_ppo.PPOLearner` is one."""

    env_steps: int
    iteration: int

    def iterate(self, progress: float) -> dict[str, float]:
        """Collect and learn once; metrics."""
        ...

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """State beside the model's weights, by checkpoint group."""
        ...

    def load_tensors(self, group: Callable[[str], Mapping[str, Tensor]]) -> None:
        """Restore :meth:`tensors`."""
        ...


@dataclass
class Record:
    """What a run has come to; saved in every checkpoint.

    Args:
        base_success: success on the search seeds before any learning.
        best_success: of the best checkpoint, on the same seeds.
        best_step: its environment steps.
        seconds: wall-clock time spent, evaluation included, over all resumptions.
        evaluation_steps: environment steps spent on evaluation.
    """

    base_success: float = float("nan")
    best_success: float = -1.0
    best_step: int = 0
    seconds: float = 0.0
    evaluation_steps: int = 0


def main(cfg: DictConfig) -> int:
    """``robolearn finetune``: see ``conf/finetune.yaml``."""
    document = to_dict(cfg)
    seeds = training_seeds(document["seeds"])
    _check_budgets(document)
    with start_run(cfg, "finetune", document["name"], log=False) as run:
        folders = [run.dir / f"seed_{seed}" for seed in seeds]
        if document["parallel"] > 1 and len(seeds) > 1:
            workers = min(int(document["parallel"]), len(seeds))
            jobs = {f"seed {seed}": (document, seed, folder) for seed, folder in zip(seeds, folders, strict=True)}
            records = list(run_jobs(train_seed, jobs, workers).values())
        else:
            records = [train_seed(document, seed, folder) for seed, folder in zip(seeds, folders, strict=True)]
        best = max(range(len(seeds)), key=lambda index: records[index].best_success)
        point_link(run.dir, "checkpoints", f"seed_{seeds[best]}/checkpoints")
        outcome = {"seeds": {str(seed): vars(record) for seed, record in zip(seeds, records, strict=True)}, "best_seed": seeds[best]}
        run.finish(outcome)
    if document.get("json"):
        print(json.dumps({"out": str(run.dir), **outcome}))
        return 0
    for seed, record in zip(seeds, records, strict=True):
        print(
            f"seed {seed}: {record.base_success:.3f} -> {record.best_success:.3f} on search seeds, "
            f"best at {record.best_step:,} environment steps, {record.seconds / 60:.1f} minutes: {run.dir / f'seed_{seed}'}"
        )
    return 0


def _check_budgets(document: Mapping[str, Any]) -> None:
    """Raise ``UserError`` where a budget or interval could not be meant."""
    if not (document["env_steps"] or document["minutes"]):
        raise UserError("training would never end: give env_steps or minutes")
    for name in ("env_steps", "minutes"):
        if (document[name] or 0) < 0:
            raise UserError(f"{name} must not be negative, got {document[name]}")
    counts = {f"evaluation.{name}": value for name, value in document["evaluation"].items()}
    for name, value in (counts | {name: document[name] for name in ("checkpoint_every", "threads", "parallel")}).items():
        if value < 1:
            raise UserError(f"{name} must be at least 1, got {value}")


def train_seed(document: Mapping[str, Any], seed: int, folder: Path) -> Record:
    """Train one seed in its own folder, going on where an earlier run stopped; returns what it came to."""
    base = open_checkpoint(document["base"])
    env: Environment = make_environment(document["task"], num_envs=document["num_envs"])
    threads = torch.get_num_threads()
    torch.set_num_threads(document["threads"])
    try:
        # A lock of its own: a seed in another process may outlive whoever holds the run's.
        with WriterLock(folder, instead="give another out="):
            return Refinement(document, seed, folder, base, env).run()
    finally:
        torch.set_num_threads(threads)
        env.close()


class Refinement:
    """One seed's training: iterate, evaluate, keep the best, until a budget is spent.

    Args:
        document: the resolved config of the verb.
        seed: training seed.
        folder: holds ``metrics.jsonl`` and ``checkpoints/``; resumed when it has any.
        base: checkpoint of the policy to refine.
        env: N rows with autoreset disabled; evaluation borrows them and puts their state back.
    """

    def __init__(self, document: Mapping[str, Any], seed: int, folder: Path, base: Checkpoint, env: Environment) -> None:
        self.document, self.seed, self.folder, self.env = document, seed, folder, env
        self.checkpoints = folder / "checkpoints"
        base_config = {**base.config, **document["base_options"]}
        self.config = {**document["model"], "base": base_config}
        self.normalizer, self.origin = base.normalizer, base.fingerprint()
        self.model = build_residual(self.config, base, env, seed)
        self.evaluation_policy = self._policy()
        self.learner: Learner = instantiate(document["learner"]).begin(env, self._policy(), seed)
        self.record = Record()
        self.resumed = (self.checkpoints / "last").exists()
        if self.resumed:
            self._load()

    def run(self) -> Record:
        """Train until a budget is spent or Ctrl-C; the state is saved either way."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = Logger(self.folder, tensorboard=bool(self.document["tensorboard"]))
        bar = Progress(f"finetune seed {self.seed}", self._budget())
        with closing(log), Interrupt() as interrupt, bar:
            log.rewind(self.learner.env_steps if self.resumed else -1)
            bar.start_at(self._spent())
            if not self.resumed:
                self._finish_iteration(log, {}, evaluate=True)
            while not self._finished() and not interrupt.requested:
                begun, steps = time.perf_counter(), self.learner.env_steps
                metrics = self.learner.iterate(self._spent() / self._budget())
                seconds = time.perf_counter() - begun
                self.record.seconds += seconds
                metrics["time/env_steps_per_s"] = (self.learner.env_steps - steps) / seconds
                last, count = self._finished(), self.learner.iteration
                evaluate = not interrupt.requested and (last or count % self.document["evaluation"]["every"] == 0)
                save = last or interrupt.requested or count % self.document["checkpoint_every"] == 0
                self._finish_iteration(log, metrics, evaluate=evaluate, save=save)
                bar.advance(self._spent() - bar.done, success=metrics.get("train/success", float("nan")), best=self.record.best_success)
        interrupt.raise_if_requested()
        return self.record

    def _policy(self) -> Policy:
        policy: Policy = instantiate(self.document["policy"], model=self.model, num_envs=self.env.num_envs)
        return policy

    def _budget(self) -> int:
        """Environment steps, or seconds where those are what is limited; :meth:`_spent` counts the same."""
        return max(1, int(self.document["env_steps"] or 60 * self.document["minutes"]))

    def _spent(self) -> int:
        return self.learner.env_steps if self.document["env_steps"] else int(self.record.seconds)

    def _finished(self) -> bool:
        steps, minutes = self.document["env_steps"], self.document["minutes"]
        return bool((steps and self.learner.env_steps >= steps) or (minutes and self.record.seconds >= 60 * minutes))

    def _finish_iteration(self, log: Logger, metrics: dict[str, float], *, evaluate: bool, save: bool = True) -> None:
        best = evaluate and self._evaluate(metrics)
        log.log(self.learner.env_steps, metrics)
        if save or evaluate:
            self._save(("last", "best") if best else ("last",))

    def _evaluate(self, metrics: dict[str, float]) -> bool:
        """Play the search seeds without exploration noise and note the result in ``metrics``; true for a new best."""
        begun = time.perf_counter()
        state = self.env.get_state()
        result = rollout(self.env, self.evaluation_policy, split_seeds("search", self.document["evaluation"]["episodes"]))
        self.env.set_state(state)
        seconds = time.perf_counter() - begun
        metrics |= {"eval/success": result.success_rate, "eval/length": float(result.steps.mean()), "time/eval": seconds}
        names = self.env.env_spec.stages
        metrics |= {f"eval/stage_{name}": float(rate) for name, rate in zip(names, result.stages.mean(0), strict=True)}
        record = self.record
        record.seconds += seconds
        record.evaluation_steps += int(result.steps.sum())
        if self.learner.env_steps == 0:
            record.base_success = result.success_rate
        if result.success_rate <= record.best_success:
            return False
        record.best_success, record.best_step = result.success_rate, self.learner.env_steps
        return True

    def _save(self, links: tuple[str, ...]) -> None:
        save_checkpoint(
            self.checkpoints,
            self.learner.env_steps,
            config=self.config,
            env_spec=self.env.env_spec,
            normalizer=self.normalizer,
            tensors={"model": self.model.state_dict(), **self.learner.tensors()},
            meta={"seed": self.seed, "iteration": self.learner.iteration, "record": vars(self.record), "base": self.origin},
            links=links,
        )
        prune_checkpoints(self.checkpoints)

    def _load(self) -> None:
        checkpoint = open_checkpoint(self.checkpoints / "last")
        before = checkpoint.meta.get("base", self.origin)
        if before != self.origin:
            raise UserError(
                f"{self.folder} refines another base ({before}) than {self.document['base']} is now ({self.origin}):"
                " give the base that it was begun with, or another out="
            )
        try:
            self.model.load_state_dict(checkpoint.tensors("model"))
        except RuntimeError as error:
            raise UserError(f"{checkpoint.path} does not fit these model options; resume with the ones it was begun with") from error
        self.learner.load_tensors(checkpoint.tensors)
        with reading(checkpoint.path / "checkpoint.json"):
            self.record = Record(**checkpoint.meta["record"])


def build_residual(config: Mapping[str, Any], base: Checkpoint, env: Environment, seed: int) -> nn.Module:
    """A residual model with fresh heads, drawn from ``seed``, on the weights of ``base``.

    Raises:
        SpecError: the base does not fit the environment.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = build(config, env.env_spec, base.normalizer)
    nested = model.get_submodule("base")
    keys: Any = nested.observation_keys
    env.env_spec.check_serves(base.env_spec, tuple(keys))
    take_task(nested, env.env_spec.task)
    nested.load_state_dict(base.tensors("ema" if "ema" in base.groups() else "model"))
    return model
