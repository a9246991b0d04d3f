"""``robolearn collect source=operator``: a person demonstrates in simulation, or corrects a policy that plays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig

from robolearn.errors import UserError, add_note, nearest
from robolearn.learning.interrupt import Interrupt
from robolearn.learning.operation import Operation, run
from robolearn.learning.take import INTERVENTION, INTERVENTION_SPEC
from robolearn.nodes import accepted_arguments, find_target, instantiate, to_dict
from robolearn.progress import Progress
from robolearn.protocols import Policy
from robolearn.provenance import describe
from robolearn.run import versions
from robolearn.spec import EnvSpec

_TOOL = 10  # numbers of one tool's canonical action


@dataclass(frozen=True)
class Desk:
    """Where an operator sits.

    Args:
        policy: that plays where the operator does not; None: there is none.
        scene: what the device draws; None where it draws nothing.
        device: opened.
    """

    policy: Policy | None
    scene: Any
    device: Any


@contextmanager
def seated(options: Mapping[str, Any], env: Any) -> Iterator[Desk]:
    """The operator's desk, until it is left.

    Raises:
        UserError: a policy or device that is not there, or does not fit.
    """
    policy, scene = policy_of(options, env), make_scene(options)
    device = make_device(options, scene)
    device.open()
    try:
        yield Desk(policy, scene if scene is not None and _takes_scene(options) else None, device)
    finally:
        device.close()


def operate(cfg: DictConfig, env: Any, desk: Desk, store: Any, seeds: list[int], progress: Progress) -> tuple[int, int]:
    """Let an operator fill the store; returns how many episodes were saved now, and how many of them as successes.

    Args:
        cfg: of ``collect``.
        env: one world.
        desk: the operator's.
        store: open to append; its spec is :func:`spec_of`'s.
        seeds: of the starts, in order.
        progress: advanced by each episode that is saved.
    """
    options = to_dict(cfg)
    operation = Operation(
        env,
        desk.device,
        store,
        int(cfg.episodes),
        seeds,
        _provenance(options, env.env_spec),
        policy=desk.policy,
        scene=desk.scene,
        saved=lambda success: progress.advance(saved="success" if success else "failure"),
        record_state=bool(cfg.record_state),
        **{name: value for name, value in options["operator"].items() if name != "pace"},
    )
    try:
        with Interrupt("this step") as interrupt:
            run(operation, env.env_spec.control_hz, float(cfg.operator.pace), lambda: interrupt.requested)
        interrupt.raise_if_requested()
    except KeyboardInterrupt as stop:
        add_note(stop, f"{store.num_episodes} episodes are kept in {cfg.store}; go on with resume=true")
        raise
    return operation.kept, operation.successes


def policy_of(options: Mapping[str, Any], env: Any) -> Policy | None:
    """The policy that the operator watches and takes over from; None without a checkpoint.

    Raises:
        UserError: several checkpoints, or one that does not fit the task.
    """
    if options["checkpoint"] is None:
        return None
    if isinstance(options["checkpoint"], list):
        raise UserError("an operator takes over from one policy: give one checkpoint=")
    policy: Policy = instantiate({**options["policy"], "checkpoint": options["checkpoint"]}, num_envs=1)
    env.env_spec.check_serves(policy.env_spec, getattr(policy, "observation_keys", None))
    return policy


def make_device(options: Mapping[str, Any], scene: Any = None) -> Any:
    """The operator's device, of the node in ``devices`` that ``device`` names.

    Raises:
        UserError: there is none of that name.
    """
    node = _node(options)
    return instantiate(node, **({"scene": scene} if _takes_scene(options) and scene is not None else {}))


def make_scene(options: Mapping[str, Any]) -> Any:
    """What a device that draws the world draws; None where the device draws nothing, or ``scene`` is null."""
    return instantiate(options["scene"]) if options["scene"] and _takes_scene(options) else None


def spec_of(env_spec: EnvSpec, has_policy: bool) -> EnvSpec:
    """What a store of an operator's episodes holds: also who acted, where a policy may."""
    return replace(env_spec, extras={**env_spec.extras, INTERVENTION: INTERVENTION_SPEC}) if has_policy else env_spec


def check_operable(options: Mapping[str, Any], env_spec: EnvSpec) -> None:
    """Raise ``UserError`` unless there is such a device, and the task moves one tool by poses and shows where it is."""
    _node(options)
    missing = [name for name in ("tcp_pos", "tcp_rot6d") if name not in env_spec.observation]
    if env_spec.action.size != _TOOL or "rot6d" not in env_spec.action.units or missing:
        raise UserError(
            f"an operator moves one tool by absolute poses (position 3, rot6d 6, gripper 1); task {env_spec.task!r} takes"
            f" {env_spec.action.size} numbers ({env_spec.action.units})" + (f" and does not show {', '.join(missing)}" if missing else "")
        )


def _node(options: Mapping[str, Any]) -> dict[str, Any]:
    devices = options["devices"]
    if options["device"] not in devices:
        raise UserError(f"no device {options['device']!r}; there are {', '.join(devices)}{nearest(str(options['device']), devices)}")
    return dict(devices[options["device"]])


def _takes_scene(options: Mapping[str, Any]) -> bool:
    known = accepted_arguments(find_target(_node(options)["_target_"]))
    return known is not None and "scene" in known  # options that are handed on are none of the scene's


def _provenance(options: Mapping[str, Any], env_spec: EnvSpec) -> dict[str, Any]:
    return describe(
        "teleop",
        task=env_spec.task,
        env=options["task"]["env"],
        operator=options["operator_name"],
        made_by=_node(options),
        checkpoint=options["checkpoint"],
        note=options["note"],
        versions=versions(),
    )
