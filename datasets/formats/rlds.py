"""Reads RLDS data sets (robot episodes in TFDS, as Open X-Embodiment publishes them) without TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats import rlds_files
from robolearn.datasets.formats.archive import listed, one_line
from robolearn.datasets.formats.naming import ASSUMED_HZ, action_spec, control_rate, float_type, store_names
from robolearn.datasets.formats.rlds_features import Feature, decode_steps, decode_texts, leaves
from robolearn.datasets.formats.rlds_files import FEATURES, INFO, Shard
from robolearn.datasets.formats.tfrecord import RecordError, Values, parse_example, records
from robolearn.datasets.layout import StoreError
from robolearn.episode import Episode
from robolearn.spec import ArraySpec, EnvSpec, SpecError

NAME = "rlds"
STEPS = "steps/"
_FLAGS = ("is_first", "is_last", "is_terminal")
_MAX_EPISODE_BYTES = 1 << 33
_MAX_CHANNELS = 4096
_SMALL, _LONG_TEXT = 64, 4096  # what provenance takes of an episode's metadata: numbers, characters


def recognises(source: Path) -> bool:
    """Whether ``source`` is a TFDS directory ``<name>/<version>`` or ``<name>``."""
    return bool(rlds_files.versions(source))


@dataclass(frozen=True)
class Columns:
    """Features of the steps by what they are, each by its name below ``steps/``."""

    observations: Mapping[str, tuple[str, Feature]]  # from a name in the store
    actions: Mapping[str, Feature]
    texts: tuple[str, ...]
    numbers: Mapping[str, Feature]  # reward and the flags

    @property
    def action_dtype(self) -> np.dtype[Any]:
        """Floats that keep every part of the action."""
        return float_type(*(np.dtype(feature.dtype) for feature in self.actions.values()))

    @property
    def channels(self) -> tuple[str, ...]:
        """A name per number of the action."""
        if list(self.actions) == ["action"]:
            return tuple(f"a{channel}" for channel in range(math.prod(self.actions["action"].shape)))
        names = []
        for key, feature in self.actions.items():
            word, width = key.removeprefix("action/").replace("/", "."), math.prod(feature.shape)
            names += [word] if width == 1 else [f"{word}.{channel}" for channel in range(width)]
        return tuple(names)


class RldsReader:
    """An opened data set, read an episode at a time; opening reads the actions once, for their limits.

    ``steps/observation/<name>`` and every other number of a step become observations, ``discount`` an extra array; ``steps/action``, or its
    parts side by side, the action. Texts and the episode's metadata go to the provenance. Every step is kept: RLDS says that
    the action and the reward of the last one mean nothing, most data sets put something there.

    Args:
        source: ``<name>/<version>`` or ``<name>`` where it has one version.
        task: its name; unless given, the data set's.
        control_hz: steps a second, which RLDS does not say; unless given, 10 is assumed and said so.
        missing: ``error``: a shard that is not there is one; ``skip``: the others are read.

    Attributes:
        env_spec: observation, action, rate.
        attrs: notes for the store.
        missing: shards that are not there.
        lost: features that a store cannot hold.

    Raises:
        StoreError: shards are missing, damaged, or no robot episodes.
        UserError: images need a package that is not installed.
    """

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused by the check, in its own words
    def __init__(self, source: str | Path, *, task: str | None = None, control_hz: float | None = None, missing: str = "error") -> None:
        if missing not in ("error", "skip"):
            raise StoreError(f"missing takes error or skip, got {missing!r}")
        self.root = _one_version(Path(source))
        info = rlds_files.read_json(self.root / INFO)
        promised = rlds_files.shards(self.root, info)
        self.missing = [shard.path.name for shard in promised if not shard.path.is_file()]
        self._shards = [shard for shard in promised if shard.path.is_file()]
        if self.missing and (missing == "error" or not self._shards):
            rest = f" and {len(self.missing) - 3} more" if len(self.missing) > 3 else ""
            raise StoreError(
                f"{self.root} lacks {len(self.missing)} of {len(promised)} shards: {', '.join(self.missing[:3])}{rest}"
                + ("; missing=skip imports the others" if self._shards else "")
            )
        self.lost: list[str] = []
        self.columns, self._metadata = self._features()
        rate = control_rate(control_hz)
        name = task or str(info["name"])
        self.attrs: dict[str, Any] = {NAME: {"name": str(info["name"]), "version": str(info.get("version", ""))}}
        self.attrs |= {} if rate else {"control_hz_assumed": ASSUMED_HZ}
        self.env_spec = self._spec(name, rate or ASSUMED_HZ)

    def __len__(self) -> int:
        return sum(shard.records for shard in self._shards)

    def __iter__(self) -> Iterator[Episode]:
        """The episodes, each checked against the spec.

        Raises:
            StoreError: a record is damaged, holds NaN or leaves the features; the message names it.
        """
        for shard, number, data in self._records():
            what = f"{shard.path}: episode {number}"
            try:
                episode = self._episode(parse_example(data), shard, number)
                episode.check(self.env_spec)
            except (SpecError, RecordError) as error:
                raise StoreError(f"{what}: {one_line(error)}") from error
            except MemoryError as error:
                raise StoreError(f"{what} does not fit in memory") from error
            yield episode

    def _records(self) -> Iterator[tuple[Shard, int, bytes]]:
        """All records, as many a shard as promised."""
        for shard in self._shards:
            number = -1
            for number, data in enumerate(records(shard.path)):
                yield shard, number, data
            if number + 1 != shard.records:
                raise StoreError(f"{shard.path} holds {number + 1} records, {INFO} promises {shard.records}; copy it anew from its source")

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused by the check, in its own words
    def _episode(self, values: dict[str, Values], shard: Shard, number: int) -> Episode:
        steps = self._steps(values)
        row = sum(math.prod(feature.shape) * np.dtype(feature.dtype).itemsize for _, feature in self.columns.observations.values())
        if row * steps > _MAX_EPISODE_BYTES:
            raise RecordError(f"its {steps} steps of {row} bytes are more than is read at a time")
        observations = {name: self._column(values, key, feature, steps) for name, (key, feature) in self.columns.observations.items()}
        numbers = {key: self._column(values, key, feature, steps) for key, feature in self.columns.numbers.items()}
        rewards = numbers["reward"].astype(self.env_spec.reward_dtype) if "reward" in numbers else np.zeros(steps, np.float32)
        metadata = self._episode_metadata(values)
        flags = {name: numbers[name].astype(bool) if name in numbers else None for name in _FLAGS}
        terminal, last = flags["is_terminal"], flags["is_last"]
        terminated = bool(terminal is not None and terminal[-1])
        success = bool(metadata["success"]) if isinstance(metadata.get("success"), int) else bool(terminated and rewards[-1] > 0)
        provenance: dict[str, Any] = {
            "source": "import",
            "format": NAME,
            "file": shard.path.name,
            "original_index": number,
            "split": shard.split,
            "task": self.env_spec.task,
            "texts": {key: _runs(decode_texts(self._values(values, key), steps)) for key in self.columns.texts},
            "episode_metadata": metadata,
            "outcome": "episode_metadata/success" if "success" in metadata else "success: the last step is terminal and rewarded",
            "flags": _unusual(flags, steps),
        }
        return Episode(
            observations=observations,
            extras={name: observations.pop(name) for name in self.env_spec.extras},
            actions=self._action(values, steps),
            rewards=rewards,
            terminated=terminated,
            truncated=bool(last is not None and last[-1] and not terminated),
            success=success,
            provenance={key: value for key, value in provenance.items() if value not in ({}, "")},
        )

    # -- features of a record ------------------------------------------------------------------------------------------

    def _values(self, values: dict[str, Values], key: str) -> Values:
        if STEPS + key not in values:
            raise RecordError(f"it lacks {STEPS}{key}, which {FEATURES} promises")
        return values[STEPS + key]

    def _column(self, values: dict[str, Values], key: str, feature: Feature, steps: int) -> NDArray[Any]:
        try:
            return decode_steps(feature, self._values(values, key), steps)
        except RecordError as error:
            raise RecordError(f"{STEPS}{key}: {error}") from error

    def _steps(self, values: dict[str, Values]) -> int:
        """T, by the first part of the action."""
        key, feature = next(iter(self.columns.actions.items()))
        found = self._values(values, key)
        width = 1 if isinstance(found, list) else math.prod(feature.shape)
        if not len(found) or len(found) % width:
            raise RecordError(f"{STEPS}{key} holds {len(found)} numbers, expected {width} a step")
        return len(found) // width

    def _action(self, values: dict[str, Values], steps: int) -> NDArray[Any]:
        """Actions ``(T, A)``."""
        parts = [self._column(values, key, feature, steps).reshape(steps, -1) for key, feature in self.columns.actions.items()]
        actions: NDArray[Any] = np.concatenate(parts, axis=1).astype(self.columns.action_dtype)
        return actions

    def _episode_metadata(self, values: dict[str, Values]) -> dict[str, Any]:
        """Small numbers and texts beside the steps, JSON-ready."""
        kept: dict[str, Any] = {}
        for name, feature in self._metadata.items():
            found = values.get(name, [])
            entry = [blob.decode(errors="replace") for blob in found] if isinstance(found, list) else found.tolist()
            if feature.kind == "image" or len(entry) > _SMALL or any(isinstance(text, str) and len(text) > _LONG_TEXT for text in entry):
                line = f"{name}: more than provenance takes of an episode"
                self.lost += [line] if line not in self.lost else []
                continue
            kept[name.removeprefix("episode_metadata/")] = entry[0] if len(entry) == 1 else entry
        return kept

    # -- what the features are -----------------------------------------------------------------------------------------

    def _features(self) -> tuple[Columns, dict[str, Feature]]:
        """Sort the leaves of ``features.json``; those that a store cannot hold are noted in ``lost``."""
        description = rlds_files.read_json(self.root / FEATURES)
        try:
            top = description["featuresDict"]["features"]
            node = top["steps"].get("sequence") or top["steps"]["dataset"]
            in_steps = list(leaves(node["feature"]))
            beside = list(leaves({"featuresDict": {"features": {key: child for key, child in top.items() if key != "steps"}}}))
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise StoreError(f"{self.root / FEATURES} describes no robot episodes (steps): {one_line(error)}") from error
        for name, feature in [*((STEPS + name, feature) for name, feature in in_steps), *beside]:
            if feature is None:
                self.lost.append(f"{name}: a store holds numbers and images of one size, described as {FEATURES} says")
        known = {name: feature for name, feature in in_steps if feature is not None}
        metadata = {name: feature for name, feature in beside if feature is not None}
        return self._sorted(known), metadata

    def _sorted(self, known: dict[str, Feature]) -> Columns:
        texts = tuple(name for name, feature in known.items() if feature.kind == "text")
        actions = {
            name: feature
            for name, feature in known.items()
            if (name == "action" or name.startswith("action/")) and feature.kind == "tensor"
        }
        width = sum(math.prod(feature.shape) for feature in actions.values())
        if not actions or width > _MAX_CHANNELS:
            raise StoreError(f"{self.root / FEATURES} has {width} action channels in steps/action; steps hold {listed(known) or 'nothing'}")
        numbers = {name: known[name] for name in ("reward", *_FLAGS) if name in known and known[name].shape in ((), (1,))}
        numbers = {name: Feature("tensor", (), feature.dtype, feature.encoding) for name, feature in numbers.items()}
        rest = [name for name in known if name not in {*texts, *actions, *numbers}]
        short = [name.removeprefix("observation/") for name in rest]
        names = store_names(short if len(set(short)) == len(short) else rest)
        observations = {name: (key, known[key]) for name, key in zip(names.values(), rest, strict=True)}
        return Columns(observations, actions, texts, numbers)

    def _spec(self, task: str, control_hz: float) -> EnvSpec:
        observation = {name: ArraySpec(feature.shape, feature.dtype) for name, (_, feature) in self.columns.observations.items()}
        wanted = {STEPS + key for key in self.columns.actions}
        lows, highs = [], []
        for shard, number, data in self._records():
            try:
                values = parse_example(data, wanted)
                actions = self._action(values, self._steps(values))
            except RecordError as error:
                raise StoreError(f"{shard.path}: episode {number}: {one_line(error)}") from error
            lows.append(actions.min(0))
            highs.append(actions.max(0))
        action = action_spec(self.columns.channels, np.min(lows, axis=0), np.max(highs, axis=0), self.columns.action_dtype.name)
        extras = {name: observation.pop(name) for name in ("discount",) if name in observation}
        reward = float_type(np.dtype(self.columns.numbers["reward"].dtype)).name if "reward" in self.columns.numbers else "float32"
        return EnvSpec(task, observation, action, control_hz, extras=extras, reward_dtype=reward)


def _one_version(source: Path) -> Path:
    found = rlds_files.versions(source)
    if not found:
        raise StoreError(f"{source} is no TFDS directory: {INFO} and {FEATURES} are not there, nor in a directory below it")
    if len(found) > 1 and found[0] != source:
        raise StoreError(f"{source} holds several versions: {', '.join(folder.name for folder in found[:5])}; name one: source={found[-1]}")
    return found[0]


def _runs(texts: list[str]) -> Any:
    """A text that stays, or ``[[first step, text], ...]`` where it changes."""
    starts = [step for step, text in enumerate(texts) if step == 0 or text != texts[step - 1]]
    return texts[0] if len(starts) == 1 else [[step, texts[step]] for step in starts]


def _unusual(flags: dict[str, NDArray[Any] | None], steps: int) -> dict[str, list[int]]:
    """Steps of flags that are not where they belong: ``is_first`` at the first step, the others at most at the last."""
    usual = {"is_first": ([0],), "is_last": ([steps - 1],), "is_terminal": ([], [steps - 1])}
    found = {name: np.flatnonzero(values).tolist() for name, values in flags.items() if values is not None}
    return {name: at for name, at in found.items() if at not in usual[name]}
