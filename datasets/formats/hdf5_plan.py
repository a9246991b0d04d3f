"""Where each array of an HDF5 demonstration goes in a store: observation, reward, simulator state, extra array, note, or nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from robolearn.datasets.formats.hdf5 import NUMBERS
from robolearn.datasets.layout import NAME, RESERVED
from robolearn.spec import ArraySpec

ACTIONS, REWARDS, STATES, OBSERVATION, NEXT_OBSERVATION = "actions", "rewards", "states", "obs/", "next_obs/"
_NOTE_BYTES = 4096  # an array up to this size that is not per step goes to the provenance
_IN_FLOAT64 = ("bool", "int8", "int16", "int32", "uint8", "uint16", "uint32", "float16", "float32", "float64")


@dataclass(frozen=True)
class Claim:
    """What an array is said to be: numpy dtype name, whole shape, bytes."""

    dtype: str
    shape: tuple[int, ...]
    size: int

    @property
    def step(self) -> ArraySpec:
        """One row."""
        return ArraySpec(self.shape[1:], self.dtype)


@dataclass(frozen=True)
class Demo:
    """One demonstration of a file: its name, T, and its arrays and groups by path, such as ``obs/eef_pos``."""

    name: str
    steps: int
    arrays: Mapping[str, Claim]
    groups: tuple[str, ...] = ()

    def per_step(self, path: str) -> bool:
        """Whether there is such an array, of numbers, with a row a step."""
        claim = self.arrays.get(path)
        return claim is not None and claim.dtype in NUMBERS and bool(claim.shape) and claim.shape[0] == self.steps

    @property
    def states(self) -> tuple[str, ...]:
        """Arrays of the simulator's state, which float64 holds exactly."""
        mine = (path for path in self.arrays if path == STATES or path.startswith(f"{STATES}/"))
        return tuple(path for path in mine if self.per_step(path) and self.arrays[path].dtype in _IN_FLOAT64)

    def is_note(self, path: str) -> bool:
        """Whether an array is small enough for the provenance."""
        return self.arrays[path].dtype in NUMBERS and self.arrays[path].size <= _NOTE_BYTES


@dataclass(frozen=True)
class Plan:
    """Paths by the names that a store knows them by, and what a store cannot hold."""

    observation: dict[str, str]
    extras: dict[str, str]
    rewards: bool
    lost: list[str] = field(default_factory=list)

    def notes(self, demo: Demo) -> list[str]:
        """Arrays of a demonstration that go to its provenance."""
        return [path for path in self.rest(demo) if demo.is_note(path)]

    def rest(self, demo: Demo) -> list[str]:
        """Arrays of a demonstration that are no store's array."""
        placed = {*self.observation.values(), *self.extras.values(), *demo.states, ACTIONS, *((REWARDS,) if self.rewards else ())}
        return [path for path in demo.arrays if path not in placed and not self.is_repeated(demo, path)]

    def is_repeated(self, demo: Demo, path: str) -> bool:
        """Whether an array is an observation one step later, of which only the last row is new."""
        present = OBSERVATION + path.removeprefix(NEXT_OBSERVATION)
        return path.startswith(NEXT_OBSERVATION) and present in self.observation.values() and demo.arrays[path] == demo.arrays[present]


def misfit(demo: Demo, first: Demo) -> str | None:
    """Why a demonstration does not go with the first one, in words; None where it does."""
    for path in first.arrays:
        if path != ACTIONS and not path.startswith(OBSERVATION):
            continue
        if path not in demo.arrays:
            return f"{demo.name} lacks {path}, which {first.name} has"
        if path == ACTIONS or first.per_step(path):
            mine, theirs = demo.arrays[path], first.arrays[path]
            if not demo.per_step(path):
                return f"{demo.name}/{path} is {mine.dtype} {mine.shape}, expected a row for each of its {demo.steps} actions"
            if mine.step != theirs.step:
                return (
                    f"{demo.name}/{path} is {mine.dtype} {mine.shape[1:]} a step, in {first.name} it is {theirs.dtype} {theirs.shape[1:]}"
                )
    return None


def make_plan(demos: Sequence[Demo], wanted: Mapping[str, str]) -> Plan:
    """Place the arrays of demonstrations that fit the first; ``wanted`` names paths where their names are known from before."""
    first = demos[0]
    common = [
        path for path in first.arrays if all(demo.per_step(path) and demo.arrays[path].step == first.arrays[path].step for demo in demos)
    ]
    rewards = REWARDS in common and first.arrays[REWARDS].shape == (first.steps,) and first.arrays[REWARDS].dtype != "bool"
    observation = [path for path in common if path.startswith(OBSERVATION)]
    names = store_names(observation, wanted, ())
    draft = Plan(names, {}, rewards)
    extras = [path for path in draft.rest(first) if path in common]
    plan = Plan(names, store_names(extras, wanted, names), rewards)
    homeless = {path: demo for demo in reversed(demos) for path in plan.rest(demo) if not demo.is_note(path)}
    for path, demo in sorted(homeless.items()):
        claim = demo.arrays[path]
        plan.lost.append(f"{path} ({claim.dtype} {claim.shape} in {demo.name}): not numbers with a row a step in every demonstration")
    return plan


def store_names(paths: Iterable[str], wanted: Mapping[str, str], taken: Iterable[str]) -> dict[str, str]:
    """A name that a store takes for each path: the observation's own, others with ``.`` for ``/``; unique."""
    names: dict[str, str] = {}
    for path in paths:
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", path.removeprefix(OBSERVATION).replace("/", "."))
        name = wanted.get(path, name if NAME.match(name) else f"_{name}")
        stem, number = name, 1
        while name in names or name in taken or name in RESERVED or not NAME.fullmatch(name):
            number += 1
            stem = stem if NAME.fullmatch(stem) else "array"
            name = f"{stem}.{number}"
        names[name] = path
    return names
