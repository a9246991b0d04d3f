"""What differs between episodes besides the start: ranges of looks and dynamics, and the draws that belong to a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from robolearn.errors import UserError, nearest
from robolearn.seeding import addressed_normal, addressed_uniform
from robolearn.sim.looks import DISTRACTORS, check_cameras

RANGES = Path(__file__).parent / "ranges"
MOST_LATENCY = 3  # control steps
Range = tuple[float, float]
Color = tuple[float, float, float]
_LIMITS: dict[str, Range] = {  # of every number of a range
    "light_color": (0, 10),
    "light_intensity": (0, 10),
    "light_direction": (0, 180),
    "part_colors": (0, 1),
    "own_colors": (0, 1),
    "table_color": (0, 1),
    "materials": (0, 1),
    "camera_position": (0, 1),
    "camera_rotation": (0, 180),
    "camera_fovy": (0, 45),
    "distractors": (0, DISTRACTORS),
    "mass": (0.01, 100),
    "friction": (0, 100),
    "gains": (0.01, 100),
}


@dataclass(frozen=True)
class LooksRanges:
    """How pictures differ between episodes; by default not at all.

    Args:
        light_color: low and high of the lights' colour.
        light_intensity: times the usual.
        light_direction: standard deviation [deg].
        part_colors: low and high of colours, of which an episode takes one pair; none: the usual colours.
        own_colors: share of episodes in which each part has a colour of its own, of the same pair.
        table_color: standard deviation of each channel about the usual.
        materials: share of episodes in which the table, and share in which the parts, wear one of the scene's materials.
        camera_position: standard deviation along each axis by camera [m].
        camera_rotation: standard deviation about each axis by camera [deg].
        camera_fovy: standard deviation of every field of view [deg].
        distractors: most things beside the parts, a whole number.

    Raises:
        UserError: a number beyond its limits, or no such camera.
    """

    light_color: tuple[Color, Color] = ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    light_intensity: Range = (1.0, 1.0)
    light_direction: float = 0.0
    part_colors: tuple[tuple[Color, Color], ...] = ()
    own_colors: float = 0.0
    table_color: float = 0.0
    materials: float = 0.0
    camera_position: Mapping[str, float] = field(default_factory=dict)
    camera_rotation: Mapping[str, float] = field(default_factory=dict)
    camera_fovy: float = 0.0
    distractors: int = 0

    def __post_init__(self) -> None:
        _check_limits("looks", self)
        for name in ("camera_position", "camera_rotation"):
            check_cameras(f"looks.{name}", getattr(self, name))


@dataclass(frozen=True)
class DynamicsRanges:
    """How the physics differs between episodes; by default not at all.

    Args:
        mass: times the usual, each part; its inertia alike.
        friction: times the usual sliding friction, of everything alike.
        gains: times the usual stiffness and damping, each servo.
        latency: least and most control steps by which actions come late.

    Raises:
        UserError: a number beyond its limits.
    """

    mass: Range = (1.0, 1.0)
    friction: Range = (1.0, 1.0)
    gains: Range = (1.0, 1.0)
    latency: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        _check_limits("dynamics", self)


def _check_limits(what: str, ranges: LooksRanges | DynamicsRanges) -> None:
    for name, value in vars(ranges).items():
        low, high = _LIMITS.get(name, (0, np.inf))
        numbers = np.array(list(value.values()) if isinstance(value, Mapping) else value, float)
        if not ((low <= numbers) & (numbers <= high)).all():
            raise UserError(f"{what}.{name} takes numbers from {low:g} to {high:g}; got {value}")


@dataclass(frozen=True)
class Randomization:
    """Ranges of looks and of dynamics."""

    looks: LooksRanges = field(default_factory=LooksRanges)
    dynamics: DynamicsRanges = field(default_factory=DynamicsRanges)


def find_ranges(given: str | Mapping[str, Any] | Randomization | None) -> Randomization:
    """Ranges by the name of a file in ``sim/ranges``, by the path of one's own (``.yaml``), or as a mapping; None: nothing varies.

    Raises:
        UserError: no such name or file, an unknown key, or a range that is none.
    """
    if given is None or isinstance(given, Randomization):
        return given or Randomization()
    node = _read(given) if isinstance(given, str) else given
    kinds = {"looks": LooksRanges, "dynamics": DynamicsRanges}
    _check_keys("randomize", node, kinds)
    made = {name: _make(name, kind, node.get(name) or {}) for name, kind in kinds.items()}
    return Randomization(**made)


def _read(name: str) -> Mapping[str, Any]:
    known = sorted(file.stem for file in RANGES.glob("*.yaml"))
    own = name.endswith(".yaml")
    file = Path(name) if own else RANGES / f"{name}.yaml"
    if not file.is_file() or not (own or name in known):
        raise UserError(f"no ranges {name!r}; there are {', '.join(known)}, or give a file NAME.yaml{nearest(name, known)}")
    try:
        node = OmegaConf.to_container(OmegaConf.load(file))
    except (OmegaConfBaseException, YAMLError) as error:
        raise UserError(f"{file} is no YAML: {' '.join(str(error).split())[:160]}") from error
    if not isinstance(node, dict):
        raise UserError(f"{file} holds no ranges: expected looks: and dynamics:, got {node!r}")
    return {str(key): value for key, value in node.items()}


def _check_keys(what: str, node: Any, known: Mapping[str, Any]) -> None:
    if not isinstance(node, Mapping):
        raise UserError(f"{what} takes ranges by name ({', '.join(known)}); got {node!r}")
    for key in node:
        if key not in known:
            raise UserError(f"{what} has no {key!r}; it has {', '.join(known)}{nearest(str(key), known)}")


def _make(name: str, kind: type[Any], node: Any) -> Any:
    """A dataclass of ranges from a node, its shapes and orders checked against the defaults."""
    default = kind()
    _check_keys(name, node, {entry.name: None for entry in fields(kind)})
    values: dict[str, Any] = {}
    for key, value in node.items():
        usual = getattr(default, key)
        try:
            if isinstance(usual, dict):
                values[key] = {str(camera): float(deviation) for camera, deviation in value.items()}
            elif key == "part_colors":
                values[key] = tuple(_ordered(pair, (2, 3)) for pair in value)
            elif isinstance(usual, tuple):
                values[key] = _ordered(value, np.shape(usual))
            else:
                values[key] = type(usual)(value)
                if isinstance(usual, int) and values[key] != float(value):
                    raise ValueError("no whole number")
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            wanted = (
                "deviations by camera" if isinstance(usual, dict) else f"something like {'a list of [low, high]' if usual == () else usual}"
            )
            raise UserError(f"{name}.{key} takes {wanted}; got {value!r}") from error
    made = kind(**values)
    if name == "dynamics" and not all(value in range(MOST_LATENCY + 1) for value in made.latency):
        raise UserError(f"dynamics.latency takes [least, most] of 0 to {MOST_LATENCY} control steps; got {node['latency']}")
    return replace(made, latency=tuple(map(int, made.latency))) if name == "dynamics" else made


def _ordered(value: Any, shape: tuple[int, ...]) -> Any:
    low_high = np.asarray(value, float)
    if low_high.shape != shape or not (low_high[0] >= 0).all() or not (low_high[0] <= low_high[1]).all():
        raise ValueError("no range")
    return tuple(map(tuple, low_high.tolist())) if len(shape) > 1 else tuple(value)


@dataclass(frozen=True)
class Draws:
    """Numbers that belong to the seeds ``(n,)`` of episodes: each by its name, whatever else is drawn."""

    seeds: NDArray[np.int64]

    def uniform(self, name: str, low: Any, high: Any, shape: tuple[int, ...] = ()) -> NDArray[np.float64]:
        """Even numbers between ``low`` and ``high``, ``(n, *shape)``."""
        unit = addressed_uniform(f"randomize {name}", self.seeds, np.zeros_like(self.seeds), int(np.prod(shape, dtype=int)))
        numbers: NDArray[np.float64] = np.asarray(low) + (np.asarray(high) - np.asarray(low)) * unit.reshape(-1, *shape)
        return numbers

    def normal(self, name: str, shape: tuple[int, ...] = ()) -> NDArray[np.float64]:
        """Standard normal numbers, ``(n, *shape)``."""
        numbers = addressed_normal(f"randomize {name}", self.seeds, np.zeros_like(self.seeds), (int(np.prod(shape, dtype=int)),))
        return numbers.astype(np.float64).reshape(-1, *shape)
