"""Imitation: trains a chunk policy on demonstrations, plays search seeds along the way, and keeps the best and the last checkpoint."""

from __future__ import annotations

import inspect
import io
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import nn

from robolearn.checkpoint import build, open_checkpoint, prune_checkpoints
from robolearn.device import torch_device
from robolearn.errors import UserError, nearest
from robolearn.learning.interrupt import Interrupt
from robolearn.learning.multitask import TaskedWindows, take_task, tasks_of
from robolearn.learning.parallel import Workers, workers
from robolearn.learning.representation import TCP, check_representation, fit_represented_actions
from robolearn.learning.resuming import check_same_data, check_same_policy, describe_data
from robolearn.learning.rollout import RolloutResult, rollout
from robolearn.learning.running_mean import RunningMean
from robolearn.learning.trainer import Augmentation, Record, Trainer, TrainingSettings
from robolearn.memory import keep_freed_memory
from robolearn.nodes import accepted_arguments, find_target, instantiate, make_environment, to_dict
from robolearn.normalize import Normalizer, fit_affine
from robolearn.progress import Progress
from robolearn.protocols import Environment
from robolearn.run import Run, start_run
from robolearn.seeding import split_seeds
from robolearn.spec import EnvSpec

Judge = Callable[[nn.Module], RolloutResult]


def main(cfg: DictConfig) -> int:
    """``robolearn train``: see ``conf/train.yaml``."""
    document = to_dict(cfg)
    settings = training_settings(document["training"])
    if document["resume"] and not document["out"]:
        raise UserError("resume=true goes on with a run: name its folder, out=...")
    _use_threads(document["threads"])
    with ExitStack() as stack:
        group = stack.enter_context(workers(document["device"]))
        torch.manual_seed(settings.seed)
        trainer, data_meta = build_trainer(document, settings, group)
        judge = stack.enter_context(_Evaluation(cfg, trainer.model)) if group.leads and document["evaluation"]["every"] else None
        run = stack.enter_context(start_run(cfg, "train", document["name"] or cfg.policy.get("name", ""))) if group.leads else None
        if document["resume"] and (Path(document["out"] or "") / "checkpoints" / "last").exists():
            saved = open_checkpoint(Path(document["out"]) / "checkpoints" / "last")
            check_same_data(saved.meta, data_meta)
            check_same_policy(saved.config, trainer.config)
            trainer.load(saved)
        record = train(trainer, run, judge, evaluate_every=document["evaluation"]["every"], meta=data_meta)
        if run is not None:
            run.finish(asdict(record))
            _say(run.dir, record, bool(document["json"]))
    return 0


def train(
    trainer: Trainer, run: Run | None = None, judge: Judge | None = None, *, evaluate_every: int = 0, meta: dict[str, Any] | None = None
) -> Record:
    """Train until the budget is spent, or Ctrl-C, saving either way.

    Args:
        trainer: fresh, or loaded.
        run: where metrics and checkpoints go; None in the processes that do not lead.
        judge: plays a model on search seeds.
        evaluate_every: steps between two evaluations; 0 for none.
        meta: JSON-ready, kept in every checkpoint.

    Raises:
        UserError: loss or gradient is not finite; what was saved is good.
        KeyboardInterrupt: stopped early, after the current step was finished and saved.
    """
    settings, record, means = trainer.settings, trainer.record, RunningMean()
    if run is not None and run.resumed:
        run.log.rewind(record.step)
    with Interrupt("this step") as interrupt, _progress(trainer) as bar:
        stop = trainer.progress >= 1
        while not stop:
            means.add(trainer.step())
            finished = trainer.progress >= 1
            stop = trainer.workers.agree(finished or interrupt.requested)

            def due(every: int, finished: bool = finished) -> bool:
                return bool(every) and (finished or trainer.record.step % every == 0)

            metrics = means.take() if stop or due(settings.log_every) else {}
            if due(settings.validate_every) or due(evaluate_every):
                metrics |= _validate(trainer)
            best = due(evaluate_every) and judge is not None and _judge(trainer, judge, metrics)
            if run is not None and metrics:
                run.log.log(trainer.record.step, metrics)
            if run is not None and (stop or best or due(settings.checkpoint_every) or due(settings.keep_every or 0)):
                trainer.save(run.checkpoints, ("last", "best") if best else ("last",), **(meta or {}))
                prune_checkpoints(run.checkpoints, settings.keep_every)
            if due(evaluate_every):
                trainer.workers.wait()
            bar.advance(_spent(trainer) - bar.done, **_shown(trainer, metrics))
    interrupt.raise_if_requested()
    return trainer.record


def build_trainer(document: dict[str, Any], settings: TrainingSettings, group: Workers) -> tuple[Trainer, dict[str, Any]]:
    """Data, model and trainer of a resolved ``train`` config, and what checkpoints should say of the data."""
    paths = list(document["store"]) if isinstance(document["store"], list) else [str(document["store"] or "")]
    if not any(paths):
        raise UserError("no store given: store=expert.zarr, or several: store=[a.zarr,b.zarr]")
    keep_freed_memory()
    stores = [find_target(document["store_type"]).open(path) for path in paths]
    env_spec = stores[0].env_spec
    rng = np.random.default_rng(settings.seed)
    learned, held_out = instantiate(document["split"], num=sum(store.num_episodes for store in stores), rng=rng)
    config = policy_config(document, stores, learned)
    wanted = config["observation_keys"]
    augmentation = build_augmentation(document.get("augmentation") or {}, env_spec, wanted)
    normalizer = instantiate(document["normalizer"], source=stores, observation_keys=wanted, episodes=learned)
    normalizer = _fit_actions(document, config, normalizer, stores, learned)
    model = build(config, env_spec, normalizer, str(torch_device(document["device"])))
    shapes = {"observation_horizon": model.observation_horizon, "prediction_horizon": model.prediction_horizon}
    windows = {"stores": stores, "observation_keys": wanted, **shapes}
    data = instantiate(document["data"], episodes=learned, **windows)
    validation = instantiate(document["data"], episodes=held_out, **windows) if len(held_out) else None
    sampler = instantiate(
        document["sampler"],
        dataset_len=len(data),
        batch_size=settings.batch_size,
        seed=settings.seed,
        rank=group.rank,
        world_size=group.count,
        labels=data.labels,
        episode_of=data.episode_of,
    )
    data.follow(sampler)
    meta = {**describe_data(paths, stores, document["sampler"], data.fingerprints), "episodes": len(learned), "windows": len(data)}
    trained, judged = data, validation
    if config.get("tasks"):
        trained = TaskedWindows(data, tasks_of(stores, learned), config["tasks"])
        judged = None if validation is None else TaskedWindows(validation, tasks_of(stores, held_out), config["tasks"])
    return Trainer(model, config, trained, sampler, settings, judged, group, augmentation), meta


def policy_config(document: Mapping[str, Any], stores: Sequence[Any], learned: Any) -> dict[str, Any]:
    """The policy's node with what the data say where it says nothing: arrays that it reads, cameras among them, tasks.

    Raises:
        UserError: the stores lack an array.
    """
    held = stores[0].env_spec.observation
    config = {key: value for key, value in document["policy"].items() if key != "name"}
    wanted = list(config.get("observation_keys") or document["task"].get("policy_keys") or held)
    for name in wanted:
        if name not in held:
            raise UserError(f"{stores[0].path} holds no observation {name!r}; it has {', '.join(sorted(held))}{nearest(name, held)}")
    config["observation_keys"] = wanted
    if config.get("encoder") and not config["encoder"].get("keys"):
        config["encoder"] = {**config["encoder"], "keys": [name for name in wanted if held[name].is_image]}
    if config.get("task_embedding") and not config.get("tasks"):
        config["tasks"] = list(dict.fromkeys(tasks_of(stores, learned).tolist()))
    return config


def build_augmentation(nodes: Mapping[str, Any], env_spec: EnvSpec, observation_keys: Sequence[str]) -> list[Augmentation]:
    """The changes of windows that a config asks for; those whose share is 0 are left out.

    Raises:
        UserError: a value out of range, or an array that the policy does not read.
    """
    asked = [node for node in nodes.values() if node and node.get("share", 1) != 0]
    return [instantiate(node, env_spec=env_spec, observation_keys=observation_keys) for node in asked]


def _fit_actions(document: Mapping[str, Any], config: Mapping[str, Any], normalizer: Normalizer, stores: Any, episodes: Any) -> Normalizer:
    """The normaliser, which also knows actions as the policy represents them."""
    actions = str(config.get("actions") or "absolute")
    check_representation(actions, stores[0].env_spec, config["observation_keys"])
    if actions == "absolute":
        return normalizer
    defaults = inspect.signature(find_target(config["_target_"])).parameters
    horizons = {name: config.get(name, defaults[name].default) for name in ("observation_horizon", "prediction_horizon")}
    sources = np.concatenate([store.column("source").astype(str) for store in stores])
    ranging = episodes[~np.isin(sources[episodes], document["normalizer"].get("leave_out") or [])]
    windows = instantiate(document["data"], stores=stores, episodes=ranging, observation_keys=TCP, **horizons)
    options = {name: value for name, value in document["normalizer"].items() if name in (accepted_arguments(fit_affine) or ())}
    return fit_represented_actions(normalizer, actions, windows, **options)


def training_settings(options: dict[str, Any]) -> TrainingSettings:
    """Settings from a config node.

    Raises:
        UserError: a value out of range.
    """
    return TrainingSettings(**options)


class _Evaluation:
    """Plays a model on the search seeds.

    Raises:
        SpecError: the environment does not show what the model reads; said before any training.
    """

    def __init__(self, cfg: DictConfig, model: Any) -> None:
        self.cfg, options = cfg, cfg.evaluation
        self.env: Environment = make_environment(cfg.task, num_envs=min(int(options.num_envs), int(options.n)))
        self.env.env_spec.check_serves(model.env_spec, model.observation_keys)
        take_task(model, self.env.env_spec.task)

    def __enter__(self) -> _Evaluation:
        return self

    def __exit__(self, *_: object) -> None:
        self.env.close()

    def __call__(self, model: Any) -> RolloutResult:
        policy = instantiate(
            self.cfg.evaluation.policy, sampler=model.eval(), action_horizon=model.action_horizon, num_envs=self.env.num_envs
        )
        return rollout(self.env, policy, split_seeds("search", int(self.cfg.evaluation.n)))


def _judge(trainer: Trainer, judge: Judge, metrics: dict[str, float]) -> bool:
    """Play the averaged weights; true for a new best."""
    begun = time.perf_counter()
    result = judge(trainer.ema.model)
    seconds = time.perf_counter() - begun
    trainer.record.seconds += seconds
    metrics |= {"eval/success": result.success_rate, "eval/length": float(result.steps.mean()), "time/eval": seconds}
    model: Any = trainer.model
    metrics |= {f"eval/stage_{name}": float(rate) for name, rate in zip(model.env_spec.stages, result.stages.mean(0), strict=True)}
    return trainer.judge(result.success_rate)


def _validate(trainer: Trainer) -> dict[str, float]:
    loss = trainer.validate()
    return {} if loss is None else {"validation/loss": loss}


def _progress(trainer: Trainer) -> Progress:
    settings = trainer.settings
    title = f"train, process 1 of {trainer.workers.count}" if trainer.workers.count > 1 else "train"
    stream = None if trainer.workers.leads else io.StringIO()  # the others stay silent
    bar = Progress(title, settings.steps or math.ceil(60 * (settings.minutes or 0)), stream=stream)
    bar.start_at(_spent(trainer))
    return bar


def _spent(trainer: Trainer) -> int:
    return trainer.record.step if trainer.settings.steps else int(trainer.record.seconds)


def _shown(trainer: Trainer, metrics: dict[str, float]) -> dict[str, float | str]:
    """What stands beside the bar: it keeps the last values."""
    shown: dict[str, float | str] = {}
    if "train/loss" in metrics:
        shown["loss"] = metrics["train/loss"]
    for name, value in (("val", trainer.record.validation_loss), ("success", trainer.record.success)):
        if value is not None:
            shown[name] = value
    return shown


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        if threads < 1:
            raise UserError(f"threads must be at least 1, got {threads}")
        torch.set_num_threads(threads)


def _say(folder: Path, record: Record, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"out": str(folder), **asdict(record)}))
        return
    best = "" if record.best_success is None else f", best {record.best_success:.3f} on search seeds at step {record.best_step:,}"
    loss = "" if record.validation_loss is None else f", validation loss {record.validation_loss:.4f}"
    print(f"{record.step:,} steps in {record.seconds / 60:.1f} minutes{loss}{best}: {folder}")
