"""A run's options, looked over before anything is started."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from robolearn.deploy.chunks.executor import MODES
from robolearn.deploy.runner.episodes import ON_FAULT
from robolearn.deploy.transport.choose import CLASSES as TRANSPORTS
from robolearn.errors import UserError, check_positive, check_share, nearest
from robolearn.seeding import split_seeds

JUDGES = ("simulated", "operator")
MOST_EPISODES = 1_000_000


def checked(options: Mapping[str, Any]) -> list[int]:
    """The episodes' seeds.

    Raises:
        UserError: an option that cannot be.
    """
    check_positive(episodes=options["episodes"], steps=options["steps"])
    check_share(high=MOST_EPISODES, episodes=options["episodes"])
    check_share(low=0.1, high=1000.0, control_hz=options["control_hz"])
    _check_safety(options["safety"])
    _check_actor(options)
    execution = options["execution"]
    check_positive(execution__action_horizon=execution["action_horizon"], execution__refine_ms=execution["refine_ms"])
    check_share(high=1000.0, execution__grace_ms=execution["grace_ms"])
    _check_known("execution.mode", execution["mode"], MODES)
    _check_known("transport.kind", options["transport"].get("kind"), ("auto", *TRANSPORTS))
    _check_simulate(options["simulate"])
    _check_known("on_fault", options["on_fault"], ON_FAULT)
    _check_known("judge", options["judge"], JUDGES)
    _check_known("device", options["device"], options["devices"])
    if options["on_fault"] == "rearm" and not options["simulate"]:
        raise UserError("on_fault=rearm is for simulated robots alone: on a real one somebody has to look first")
    return [int(seed) for seed in split_seeds(options["seeds"], int(options["episodes"]), int(options["first_seed"]))]


def _check_safety(safety: Mapping[str, Any]) -> None:
    """No watchdog is turned off by a number that it cannot have."""
    check_share(high=10.0, safety__ramp_s=safety["ramp_s"])
    most = {"hold_s": 60.0, "near_m": 2.0, "near_rad": 3.2, "deaf_s": 10.0, "follow_rad": 1.0, "tracking_rad": 3.2, "tracking_m": 2.0}
    for name, high in most.items():
        check_positive(**{f"safety__{name}": safety[name]})
        check_share(high=high, **{f"safety__{name}": safety[name]})
    check_share(low=1, high=1000, safety__holds=safety["holds"], safety__late_steps=safety["late_steps"])


def _check_actor(options: Mapping[str, Any]) -> None:
    acts = "checkpoint=<run folder or checkpoint>, server=ws://HOST:PORT of `robolearn serve`, or device=browser: you alone"
    if options["checkpoint"] and options["server"]:
        raise UserError(f"checkpoint and server are both given, one of them acts: {acts}")
    if not (options["checkpoint"] or options["server"] or options["device"]):
        raise UserError(f"give what acts: {acts}")
    if options["server"] and options["policy"]:
        raise UserError("options of the policy belong to the server's command, `robolearn serve`: leave policy out beside server")


def _check_simulate(simulate: Any) -> None:
    if simulate is not None and not isinstance(simulate, Mapping):
        raise UserError(f"simulate takes options of `robolearn sim-robot`, as in 'simulate={{task: one_leg}}'; got {simulate!r}")


def _check_known(name: str, value: Any, known: Collection[str]) -> None:
    if value is not None and value not in known:
        raise UserError(f"no {name}={value!r}; there are {', '.join(known)}{nearest(str(value), known)}")
