"""robosuite's own environment behind a batch: it names the parts of a world, and draws where episodes start."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.sim.robosuite_compat import make, patch, quiet
from robolearn.tasks_robosuite import CONTROL_HZ, ROBOSUITE

ROBOT = "Panda"  # of which batches are made
MODEL_SEED = 0  # of what robosuite draws once a world: the size of Lift's cube
REWARD_SCALE = 1.0  # robosuite's default
PHYSICS_HZ = 500  # robosuite's
_SETTLED = ("self", "single_object_mode", "object_type", "nut_type")  # PickPlaceCan and NutAssemblySquare are these
INPUT_TYPES = ("canonical", "delta", "absolute")


def make_host(task: str, input_type: str = "canonical", options: Mapping[str, Any] | None = None) -> Any:
    """The environment of a task by robosuite, which is also what tests hold the batch against.

    Args:
        task: such as ``can``.
        input_type: of its controllers; canonical actions become absolute poses.
        options: arguments of ``robosuite.make`` in place of the defaults, as :mod:`robolearn.sim.robosuite.env_args` reads them.

    Raises:
        UserError: no such task, input type or option, other robots, rewards of another scale, a control rate that no physics step fits
            into, what robosuite makes nothing of, or another version of robosuite or MuJoCo is installed.
    """
    if task not in ROBOSUITE:
        raise UserError(f"no robosuite task {task!r}; there are {', '.join(sorted(ROBOSUITE))}{nearest(task, ROBOSUITE)}")
    if input_type not in INPUT_TYPES:
        raise UserError(f"no input type {input_type!r}; there are {', '.join(INPUT_TYPES)}{nearest(input_type, INPUT_TYPES)}")
    words = ROBOSUITE[task]
    if options:
        _check_options(words.world, options)
        check_robots(task, options.get("robots", [ROBOT] * words.arms))
    settings: dict[str, Any] = {"control_freq": CONTROL_HZ, "ignore_done": True, "seed": MODEL_SEED, **(options or {})}
    if "controller_configs" not in settings:
        settings["controller_configs"] = [_controller(input_type) for _ in range(words.arms)]
    settings.pop("robots", None)
    robots: Any = ROBOT if words.arms == 1 else [ROBOT] * words.arms
    try:
        return make(words.world, robot=robots, **settings)
    except UserError:
        raise
    except Exception as error:  # robosuite asserts, indexes and looks up what it was given
        if not options:
            raise
        why = f"{type(error).__name__} {' '.join(str(error).split())[:200]}"
        raise UserError(f"robosuite cannot make {words.world} with {_short(options)}: {why}; leave out what it does not take") from error


def check_robots(task: str, robots: Any) -> None:
    """Raise ``UserError`` unless these are the robots of a batched task, by robosuite's names."""
    arms = ROBOSUITE[task].arms
    if ([robots] if isinstance(robots, str) else robots) not in ([ROBOT] * arms, (ROBOT,) * arms):
        like = ROBOT if arms == 1 else [ROBOT] * arms
        raise UserError(f"{ROBOSUITE[task].world} in batches has {arms} of the robot {ROBOT}, robots={like!r}, not {robots!r}")


def _short(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={repr(value)[:60]}" for name, value in options.items())


def _check_options(world: str, options: Mapping[str, Any]) -> None:
    known = _arguments(world)
    for name in options:
        if name not in known:
            raise UserError(f"robosuite's {world} has no option {name!r}{nearest(name, known) or '; there are ' + ', '.join(known)}")
    scale = options.get("reward_scale", REWARD_SCALE)
    if scale != REWARD_SCALE:
        raise UserError(f"batched robosuite tasks have rewards with reward_scale={REWARD_SCALE}, not {scale!r}; leave it out")
    rate = options.get("control_freq", CONTROL_HZ)
    if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 < float(rate) <= PHYSICS_HZ:
        raise UserError(f"control_freq is a number above 0 and up to {PHYSICS_HZ}, robosuite's physics steps a second, not {rate!r}")


def _arguments(world: str) -> tuple[str, ...]:
    """Those of one of robosuite's environments that it has not settled itself."""
    patch()
    with quiet():
        from robosuite.environments.base import REGISTERED_ENVS
    for kind in REGISTERED_ENVS[world].__mro__:
        parameters = inspect.signature(kind.__init__).parameters.values()
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):  # else it hands on what it does not name
            break
    return tuple(parameter.name for parameter in parameters if parameter.name not in _SETTLED)


def _controller(input_type: str) -> dict[str, Any]:
    """The Panda's default controller with an input type."""
    with quiet():
        from robosuite.controllers import load_composite_controller_config

        settings: dict[str, Any] = load_composite_controller_config(robot="Panda")
    settings["body_parts"]["right"]["input_type"] = "delta" if input_type == "delta" else "absolute"
    return settings


def draw_start(host: Any, seed: int) -> NDArray[np.float64]:
    """Joint positions ``(nq,)`` at which the episode of a seed starts, by robosuite's own samplers."""
    host.rng.bit_generator.state = np.random.default_rng(seed).bit_generator.state
    with quiet():
        host.reset()
    start: NDArray[np.float64] = np.array(host.sim.data.qpos)
    return start
