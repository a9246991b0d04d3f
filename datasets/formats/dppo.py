"""Reads DPPO's ``train.npz``: states and actions of all trajectories end to end, already normalised to [-1, 1]."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats.archive import fingerprint, looks_like_zip, one_line, open_files
from robolearn.datasets.formats.checked import checked
from robolearn.datasets.formats.naming import ASSUMED_HZ, action_spec, control_rate, float_type, storable
from robolearn.datasets.layout import StoreError
from robolearn.episode import Episode
from robolearn.provenance import describe
from robolearn.spec import ArraySpec, EnvSpec

NAME = "dppo"
_REQUIRED = ("states", "actions", "traj_lengths")
_LIMITS = ("obs_min", "obs_max", "action_min", "action_max")
_MAX_BYTES = 1 << 33
_npy: Any = np.lib.format


def recognises(source: Path) -> bool:
    """Whether ``source`` is an ``.npz`` with DPPO's arrays."""
    try:
        return source.is_file() and looks_like_zip(source) and {f"{name}.npy" for name in _REQUIRED} <= open_files(source).names
    except StoreError:
        return False


class DppoReader:
    """An opened ``train.npz``; the numbers stay normalised, and ``normalization.npz`` beside it goes to the store's attributes.

    Args:
        source: the file.
        task: its name; unless given, the directory's.
        control_hz: steps a second, which the file does not say; unless given, 10 is assumed and said so.

    Raises:
        StoreError: arrays are missing, damaged, pickled, or do not fit together.
    """

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused by the check, in its own words
    def __init__(self, source: str | Path, *, task: str | None = None, control_hz: float | None = None) -> None:
        self.path = Path(source)
        arrays = read_npz(self.path, (*_REQUIRED, "rewards", "terminals", "images"))
        missing = [name for name in _REQUIRED if name not in arrays]
        if missing:
            raise StoreError(f"{self.path} lacks {', '.join(missing)}; it has {', '.join(arrays) or 'none of the arrays read'}")
        self.ends = self._ends(arrays["traj_lengths"])
        self._arrays = {name: self._of_steps(name, values) for name, values in arrays.items() if name != "traj_lengths"}
        for name in {"actions", "rewards"} & set(self._arrays):
            self._arrays[name] = self._arrays[name].astype(float_type(self._arrays[name].dtype))
        actions = self._arrays["actions"]
        rate = control_rate(control_hz)
        beside = self.path.with_name("normalization.npz")
        limits = read_npz(beside, _LIMITS) if beside.is_file() else {}
        normalization = {name: values.tolist() for name, values in limits.items() if values.ndim == 1 and np.isfinite(values).all()}
        self.attrs: dict[str, Any] = {NAME: {"normalised": True, **normalization}} | ({} if rate else {"control_hz_assumed": ASSUMED_HZ})
        channels = tuple(f"a{channel}" for channel in range(actions.shape[1]))
        observation = {name: ArraySpec(values.shape[1:], values.dtype.name) for name, values in self._observations(slice(None)).items()}
        action = action_spec(channels, actions.min(0), actions.max(0), actions.dtype.name)
        self.env_spec = EnvSpec(
            task or self.path.resolve().parent.name, observation, action, rate or ASSUMED_HZ, reward_dtype=self._reward_dtype()
        )
        self._fingerprint = fingerprint(open_files(self.path))

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[Episode]:
        """The episodes, each checked against the spec.

        Raises:
            StoreError: an episode holds NaN; the message names it.
        """
        for index, end in enumerate(self.ends):
            steps = slice(int(self.ends[index - 1]) if index else 0, int(end))
            yield checked(self._episode(index, steps), self.env_spec, f"{self.path}: episode {index}")

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused by the check, in its own words
    def _episode(self, index: int, steps: slice) -> Episode:
        rewards, terminals = self._arrays.get("rewards"), self._arrays.get("terminals")
        length = steps.stop - steps.start
        provenance = describe(
            "import",
            format=NAME,
            file=self.path.name,
            file_sha256=self._fingerprint,
            original_index=index,
            task=self.env_spec.task,
            outcome="the source does not say",
        )
        if rewards is None:
            provenance["reward"] = "the source has none: 0"
        return Episode(
            observations=self._observations(steps),
            actions=self._arrays["actions"][steps],
            rewards=rewards[steps].reshape(length) if rewards is not None else np.zeros(length, np.float32),
            terminated=bool(terminals is not None and terminals[steps][-1]),
            truncated=False,
            success=False,
            provenance=provenance,
        )

    def _reward_dtype(self) -> str:
        return self._arrays["rewards"].dtype.name if "rewards" in self._arrays else "float32"

    def _observations(self, steps: slice) -> dict[str, NDArray[Any]]:
        """States, and images with channels last ``(T, H, W, C)``."""
        found = {"states": self._arrays["states"][steps]}
        if "images" in self._arrays:
            found["images"] = np.ascontiguousarray(self._arrays["images"][steps].transpose(0, 2, 3, 1))
        return found

    def _ends(self, lengths: NDArray[Any]) -> NDArray[np.int64]:
        if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths) or lengths.min() <= 0 or lengths.max() > _MAX_BYTES:
            raise StoreError(f"{self.path}: traj_lengths is {lengths.dtype} {lengths.shape}, expected a positive length per trajectory")
        return np.cumsum(lengths.astype(np.int64))

    def _of_steps(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        axes = {"images": (4,), "rewards": (1, 2), "terminals": (1, 2)}.get(name, (2,))
        flat = name not in ("rewards", "terminals") or math.prod(values.shape[1:]) == 1
        if values.ndim not in axes or len(values) != self.ends[-1] or 0 in values.shape or not storable(values.dtype) or not flat:
            raise StoreError(f"{self.path}: {name} is {values.dtype} {values.shape}, the trajectories end at step {self.ends[-1]}")
        return values.astype(values.dtype.newbyteorder("="), copy=False)


def read_npz(path: Path, wanted: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Arrays of an ``.npz`` that are there; nothing larger than its own header says is read, and no pickle.

    Raises:
        StoreError: no whole and safe zip; an array is damaged or of Python objects.
    """
    files = open_files(path)
    return {name: _array(path, name, files.read(f"{name}.npy", _MAX_BYTES)) for name in wanted if f"{name}.npy" in files.names}


def _array(path: Path, name: str, data: bytes) -> NDArray[Any]:
    stream = io.BytesIO(data)
    try:
        version = _npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"its format is version {version}")
        read = _npy.read_array_header_1_0 if version == (1, 0) else _npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        if dtype.hasobject:
            raise StoreError(
                f"{path}: {name} is stored as Python pickles, which can run any code when read; where you trust the file, save it again "
                f"in its own environment with a number type: np.savez(..., {name}=np.stack(list({name})).astype(np.float32))"
            )
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
            raise ValueError(f"its header claims {shape} of {dtype}, its data have {len(data) - stream.tell()} bytes")
        return np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape, order="F" if fortran else "C")
    except StoreError:
        raise
    except Exception as error:  # numpy raises many kinds for damaged headers
        raise StoreError(f"{path}: {name} cannot be read: {one_line(error)}") from error
