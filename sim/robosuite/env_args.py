"""robomimic's ``env_args``, which its data sets carry, as a batched environment: those of robosuite 1.5, and of 1.4 converted."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from robolearn.errors import UserError, nearest
from robolearn.sim.robosuite.env import RobosuiteEnv
from robolearn.sim.robosuite.host import ROBOT, check_robots
from robolearn.sim.robosuite.scene import check_controller
from robolearn.sim.robosuite_compat import quiet
from robolearn.tasks_robosuite import ROBOSUITE

ROBOSUITE_TYPE = 1  # robomimic's number for it
# What says how robosuite draws, or how long it plays, and nothing about the world.
_BESIDE = (
    "has_renderer",
    "has_offscreen_renderer",
    "ignore_done",
    "use_camera_obs",
    "use_object_obs",
    "hard_reset",
    "horizon",
    "renderer",
    "env_name",
)
_BESIDE_PREFIXES = ("camera_", "render_", "renderer_")
_OF_THE_BATCH = ("reward_shaping", "controller_configs", "robots")


def environment_of(env_args: str | Mapping[str, Any], num_envs: int, **options: Any) -> RobosuiteEnv:
    """The task that ``env_args`` describes.

    Args:
        env_args: the JSON text, or what it holds: ``env_name``, ``type`` and ``env_kwargs``.
        num_envs: rows N.
        options: of :class:`RobosuiteEnv`; ``input_type`` is the one that the controllers there have, unless given.

    Raises:
        UserError: no robosuite environment, no such task, or a robot or controller that batches are not made for.
    """
    described = _described(env_args)
    task = _task_of(str(described["env_name"]))
    kwargs, arms = described["env_kwargs"], ROBOSUITE[task].arms
    check_robots(task, kwargs.get("robots", [ROBOT] * arms))
    worlds = {key: value for key, value in kwargs.items() if key not in (*_BESIDE, *_OF_THE_BATCH) and not key.startswith(_BESIDE_PREFIXES)}
    if controllers := _controllers(kwargs, arms):
        worlds["controller_configs"] = controllers
        for config in controllers:
            check_controller(config["body_parts"]["right"])
    found = {"reward_shaping": bool(kwargs.get("reward_shaping", False)), "input_type": input_type_of(described)}
    return RobosuiteEnv(task, num_envs, **{**found, **options}, options=worlds)


def input_type_of(env_args: str | Mapping[str, Any]) -> str:
    """What the actions of those data are: ``delta``, robosuite's default, or ``absolute``."""
    controllers = _controllers(_described(env_args)["env_kwargs"], 1)
    return str(controllers[0]["body_parts"]["right"].get("input_type", "delta")) if controllers else "delta"


def _controllers(kwargs: Mapping[str, Any], arms: int) -> list[dict[str, Any]]:
    """Settings of each arm's controller as robosuite 1.5 writes them; none where the default is meant."""
    configs = kwargs.get("controller_configs")
    if configs is None:
        return []
    return [composite(config) for config in (configs if isinstance(configs, list) else [configs] * arms)]


def _described(env_args: str | Mapping[str, Any]) -> dict[str, Any]:
    """``env_args`` with ``env_name`` and ``env_kwargs``."""
    try:
        described = json.loads(env_args) if isinstance(env_args, str) else dict(env_args)
        kind, _ = described.get("type", ROBOSUITE_TYPE), described["env_name"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"env_args are JSON with env_name, type and env_kwargs; got {str(env_args)[:80]!r}") from error
    if kind != ROBOSUITE_TYPE:
        raise UserError(f"env_args of type {kind!r} are not robosuite's, whose type is {ROBOSUITE_TYPE}")
    kwargs = described.get("env_kwargs") or {}
    if not isinstance(kwargs, Mapping):
        raise UserError(
            f"env_kwargs of env_args are robosuite's options by name, such as {{'robots': '{ROBOT}'}}; got {str(kwargs)[:80]!r}"
        )
    return {**described, "env_kwargs": dict(kwargs)}


def _task_of(world: str) -> str:
    """Our name of robosuite's."""
    worlds = {words.world: task for task, words in ROBOSUITE.items()}
    if world not in worlds:
        raise UserError(f"no batched robosuite task {world!r}; there are {', '.join(sorted(worlds))}{nearest(world, worlds)}")
    return worlds[world]


def composite(config: Any) -> dict[str, Any]:
    """A controller's settings as robosuite 1.5 writes them; those of 1.4 and before by its own conversion.

    That leaves out what has another name or default there: deltas were in the world's frame, and whether there were any was
    said by ``control_delta``.

    Raises:
        UserError: no such settings.
    """
    if not isinstance(config, Mapping):
        raise _no_controller(config)
    settings: dict[str, Any] = copy.deepcopy(dict(config))
    converted = settings if "body_parts" in settings else _converted(settings)
    parts = converted.get("body_parts")
    if not isinstance(parts, dict) or not isinstance(arms := parts.pop("arms", {}), Mapping):
        raise _no_controller(config)
    parts.update(arms)
    if not isinstance(parts.get("right"), Mapping):
        raise _no_controller(config)
    return converted


def _converted(settings: dict[str, Any]) -> dict[str, Any]:
    delta = bool(settings.pop("control_delta", True))
    settings.setdefault("input_type", "delta" if delta else "absolute")
    settings.setdefault("input_ref_frame", "world")
    settings.setdefault("damping_ratio", settings.pop("damping", 1))
    with quiet():
        from robosuite.controllers.composite.composite_controller_factory import refactor_composite_controller_config

        converted: dict[str, Any] = refactor_composite_controller_config(settings, ROBOT, ["right"])
    return converted


def _no_controller(config: Any) -> UserError:
    return UserError(
        "controller_configs are robosuite's settings of one controller, or a list of one an arm, such as "
        f"{{'type': 'OSC_POSE', 'kp': 150, ...}} or {{'type': 'BASIC', 'body_parts': {{'right': {{...}}}}}}; got {str(config)[:80]!r}"
    )
