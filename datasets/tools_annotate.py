"""``robolearn data annotate``: a new store whose episodes know their bottleneck states, marked by hand or found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from robolearn.config import OVERRIDES
from robolearn.datasets.layout import ACTION, SIM_STATE, StoreError
from robolearn.datasets.marking import Mark, marked_pieces
from robolearn.datasets.selection import select
from robolearn.datasets.store import DemoStore
from robolearn.datasets.tools_edit import carry_out, plan_of
from robolearn.errors import nearest
from robolearn.learning.bottlenecks import MARKED, ahead, first_touches, reached_steps, toggles
from robolearn.learning.replay import MOST_ROWS
from robolearn.nodes import instantiate, make_environment, to_dict
from robolearn.progress import Progress

TOOL = "annotate"
_SEARCH = ("method", "count", "before", "stages", "pairs", "toggle", "keep", "episodes", "where", "num_envs")  # not beside steps=
GRIPPER = "gripper"  # the action's channel; the last one where none is called so

Finder = Callable[[DemoStore, NDArray[np.int64], Mapping[str, Any], DictConfig, Callable[[int], None]], list[list[int]]]


def main(cfg: DictConfig) -> int:
    """``robolearn data annotate``.

    Raises:
        UserError: the store does not fit the task or the method, or no episode or step is there to be marked.
    """
    options = to_dict(cfg)
    store = DemoStore.open(options["store"])
    notes: list[str] = []
    if options["steps"] is not None:
        _require_alone(options)
        marks = _by_hand(store, options["steps"])
        edit: dict[str, Any] = {"tool": TOOL, "method": "hand"}
    else:
        marks, notes = _found(store, options, cfg)
        kept = {"stages": ("stages",), "contact": ("pairs",), "gripper": ("toggle",)}[options["method"]]
        edit = {"tool": TOOL, **{key: options[key] for key in ("method", *kept, "before", "count")}}
    if not marks:
        raise StoreError("; ".join([f"there is nothing to mark in {store.path}", *notes[:3]]))
    pieces, changes = marked_pieces(store, marks, TOOL)
    return carry_out([plan_of(store, options["out"], pieces, edit)], [*notes, *changes], options)


def _require_alone(options: Mapping[str, Any]) -> None:
    """Raise ``StoreError`` for options that choose episodes or look for steps beside ``steps=``."""
    given = [word.lstrip("+").partition("=")[0] for word in options.get(OVERRIDES) or ()]
    for key in given:
        if key in _SEARCH:
            raise StoreError(f"steps marks by hand the episodes that it names; leave out {key}= or steps=")


def _by_hand(store: DemoStore, steps: Any) -> dict[int, Mark]:
    if not isinstance(steps, Mapping) or not steps:
        raise StoreError(f"steps takes each episode's steps, such as steps={{0:[131],3:[120,260]}}; got {steps!r}")
    marks = {}
    for episode, entry in steps.items():
        if type(episode) is not int or not isinstance(entry, list) or any(type(step) is not int for step in entry):
            raise StoreError(f"steps takes each episode's steps, such as steps={{0:[131],3:[120,260]}}; got {episode!r}: {entry!r}")
        marks[episode] = Mark(bottlenecks=tuple(sorted(set(entry))))
    return marks


def _found(store: DemoStore, options: Mapping[str, Any], cfg: DictConfig) -> tuple[dict[int, Mark], list[str]]:
    """The marks that a method finds, and a line for each episode in which it finds another number of them than asked for."""
    method, count, before = options["method"], options["count"], options["before"]
    if method not in METHODS:
        raise StoreError(f"no method={method!r}; there are {', '.join(METHODS)}{nearest(str(method), METHODS)}")
    if type(before) is not int or before < 0 or type(count) is not int or count < 0:
        raise StoreError(f"before and count are whole numbers of at least 0; got before={before}, count={count}")
    chosen = select(store, options["episodes"], options["where"])
    known = [index for index in chosen if options["keep"] and store.provenance(int(index)).get(MARKED)]
    chosen = np.setdiff1d(chosen, known)
    notes = [f"{len(known)} episodes that are marked already stay as they are (keep=false marks them anew)"] if known else []
    if not len(chosen):
        return {}, [*notes, "no episode is left to look at"]
    with Progress(f"look for bottlenecks in {store.path}", len(chosen)) as progress:
        events = METHODS[method](store, chosen, options, cfg, progress.advance)
    marks = {}
    for index, steps in zip(chosen.tolist(), events, strict=True):
        found = ahead(steps, before)
        if count and len(found) != count:
            notes.append(
                f"episode {index}: {len(found)} found, {count} expected" + (f"; the first {count} are marked" if len(found) > count else "")
            )
        if found:
            marks[index] = Mark(bottlenecks=tuple(found[: count or None]))
    return marks, notes


def _by_stages(
    store: DemoStore, chosen: NDArray[np.int64], options: Mapping[str, Any], cfg: DictConfig, advance: Callable[[int], None]
) -> list[list[int]]:
    stages = _list(options, "stages")
    env = make_environment(cfg.task, num_envs=min(len(chosen), MOST_ROWS) if options["num_envs"] is None else int(options["num_envs"]))
    try:
        env.env_spec.check_serves(store.env_spec, recorded=True)
        return reached_steps(env, [store.episode(int(index)) for index in chosen], stages, advance)
    finally:
        env.close()


def _by_contact(
    store: DemoStore, chosen: NDArray[np.int64], options: Mapping[str, Any], cfg: DictConfig, advance: Callable[[int], None]
) -> list[list[int]]:
    if SIM_STATE not in store.array_names or "touching" not in cfg.task:
        raise StoreError(f"method=contact needs simulator states, which {store.path} lacks; method=stages or gripper does without")
    touching, pairs, found = instantiate(cfg.task.touching), _list(options, "pairs"), []
    for index in chosen:
        states = store.array(SIM_STATE, int(store.starts[index]), int(store.ends[index]))
        if np.isnan(states).all():
            raise StoreError(f"episode {index} of {store.path} has no simulator states; leave it out with episodes=")
        found.append(first_touches(touching(states, pairs)))
        advance(1)
    return found


def _by_gripper(
    store: DemoStore, chosen: NDArray[np.int64], options: Mapping[str, Any], cfg: DictConfig, advance: Callable[[int], None]
) -> list[list[int]]:
    names = store.env_spec.action.names
    channel = names.index(GRIPPER) if GRIPPER in names else len(names) - 1
    found = []
    for index in chosen:
        command = store.array(ACTION, int(store.starts[index]), int(store.ends[index]))[:, channel]
        found.append(toggles(command, str(options["toggle"])))
        advance(1)
    return found


def _list(options: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = options[name]
    if not isinstance(value, list) or not value:
        raise StoreError(f"{name} takes a list of at least one, got {value!r}")
    return value


METHODS: dict[str, Finder] = {"stages": _by_stages, "contact": _by_contact, "gripper": _by_gripper}
