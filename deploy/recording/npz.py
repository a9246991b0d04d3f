"""Episodes as ``episode_000000.npz`` and ``.json``: what a computer records that cannot have zarr 3 (Python 3.10)."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robolearn.errors import UserError
from robolearn.provenance import describe
from robolearn.run import jsonable
from robolearn.spec import EnvSpec, SpecError

FORMAT = "robolearn-episode"
SPOOL = ".recording"


class NpzRecorder:
    """``begin``, ``add`` every step, then ``end`` or ``discard``, as the store's recorder has them.

    Steps go to files of raw rows as they come; :meth:`end` puts them into one uncompressed ``.npz`` (no pickle), and its ``.json``, which
    is written last and is the commit. A crash loses the episode at hand and nothing else.

    Args:
        folder: where episodes go; made.
        spec: what they observe and do.
    """

    def __init__(self, folder: Path, spec: EnvSpec) -> None:
        self.folder, self.spec = folder, spec
        self._spool = folder / SPOOL
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._spool, ignore_errors=True)  # of a recorder that was killed
        self._index = 1 + max((int(file.stem[8:]) for file in folder.glob("episode_*.json")), default=-1)
        self._provenance: dict[str, Any] | None = None
        self._files: dict[str, BinaryIO] = {}
        self._dtypes = _dtypes(spec)
        self._steps, self._rewarded, self._last_reward = 0, False, 0
        self._began = 0.0

    def begin(self, source: str = "teleop", **provenance: Any) -> None:
        """Start an episode."""
        if self._provenance is not None:
            raise UserError("an episode is being recorded; end() or discard() it before the next begin()")
        known = describe(source, **{"task": self.spec.task, **provenance})
        self._spool.mkdir(exist_ok=True)
        self._files = {name: (self._spool / str(place)).open("w+b") for place, name in enumerate(self._dtypes)}
        self._provenance, self._steps, self._rewarded = known, 0, False

    def add(self, observation: Mapping[str, ArrayLike], action: ArrayLike, *, reward: float | None = None, **extras: ArrayLike) -> None:
        """Hand over a step: what was seen, then what was done.

        Raises:
            SpecError: the step does not fit the spec, or holds NaN (extras may); it is not taken.
            OSError: the disk is full or failing; the episode cannot be ended.
        """
        if self._provenance is None:
            raise UserError("no episode was begun; call begin() first")
        given = {f"observation/{name}": value for name, value in observation.items()}
        given |= {f"extras/{name}": value for name, value in extras.items()}
        given |= {"action": action, "reward": 0.0 if reward is None else reward}
        self._began = time.monotonic() if not self._steps else self._began
        if "observation/timestamp" in self._dtypes and "observation/timestamp" not in given:
            given["observation/timestamp"] = np.full(self._dtypes["observation/timestamp"].shape, time.monotonic() - self._began)
        rows = {name: self._row(name, given) for name in self._dtypes}
        for name in given.keys() - rows.keys():
            raise SpecError(f"{name!r} is not in the spec; it has {sorted(self._dtypes)}")
        for name, row in rows.items():
            self._files[name].write(row.tobytes())
        self._steps += 1
        self._rewarded = self._rewarded or reward is not None

    def end(self, *, success: bool, terminated: bool | None = None, truncated: bool = False, **provenance: Any) -> int:
        """Commit the episode; when this returns, it survives a crash. Returns its index.

        Raises:
            UserError: nothing was recorded.
            OSError: the disk is full or failing; the episode is lost, those committed are whole.
        """
        if self._provenance is None or not self._steps:
            raise UserError("there is no step to commit; begin() an episode and add() to it, or discard() it")
        try:
            if success and not self._rewarded:
                self._reward_last()
            stem = f"episode_{self._index:06d}"
            _write_synced(self.folder / f"{stem}.npz", self._write_arrays)
            document = {
                "format": FORMAT,
                "version": 1,
                "steps": self._steps,
                "success": success,
                "terminated": success if terminated is None else terminated,
                "truncated": truncated,
                "provenance": {**self._provenance, **provenance},
                "spec": self.spec.to_dict(),
            }
            text = json.dumps(document, indent=1, default=jsonable).encode()
            _write_synced(self.folder / f"{stem}.json", lambda stream: stream.write(text))
            self._index += 1
            return self._index - 1
        finally:
            self.discard()

    def discard(self) -> None:
        """Forget the episode at hand. Harmless where there is none."""
        for file in self._files.values():
            with contextlib.suppress(OSError):  # what a full disk does not take is not wanted any more
                file.close()
        self._files, self._provenance = {}, None
        shutil.rmtree(self._spool, ignore_errors=True)

    def close(self) -> None:
        """Discard what was not ended."""
        self.discard()

    def _row(self, name: str, given: Mapping[str, ArrayLike]) -> NDArray[Any]:
        if name not in given:
            raise SpecError(f"{name!r} is missing; expected {sorted(self._dtypes)}, got {sorted(given)}")
        blank, value = self._dtypes[name], np.asarray(given[name])
        if value.shape != blank.shape or not np.can_cast(value.dtype, blank.dtype, "same_kind"):
            raise SpecError(f"{name!r} is {value.dtype} of shape {value.shape}, expected {blank.dtype} of shape {blank.shape}")
        row = value.astype(blank.dtype)
        if row.dtype.kind == "f" and not name.startswith("extras/") and not np.isfinite(row).all():
            raise SpecError(f"{name!r} holds NaN or infinity at step {self._steps}")
        return row

    def _reward_last(self) -> None:
        file, dtype = self._files["reward"], self._dtypes["reward"].dtype
        file.seek(-dtype.itemsize, io.SEEK_END)
        file.write(np.ones((), dtype).tobytes())

    def _write_arrays(self, stream: BinaryIO) -> None:
        npy: Any = np.lib.format
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for name, blank in self._dtypes.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    header = {"descr": blank.dtype.str, "fortran_order": False, "shape": (self._steps, *blank.shape)}
                    npy.write_array_header_1_0(member, header)
                    self._files[name].flush()
                    self._files[name].seek(0)
                    shutil.copyfileobj(self._files[name], member, 1 << 20)


def _dtypes(spec: EnvSpec) -> dict[str, NDArray[Any]]:
    """A blank row of each array by its name in the file."""
    blank = {f"observation/{name}": np.zeros(entry.shape, entry.dtype) for name, entry in spec.observation.items()}
    blank |= {f"extras/{name}": np.zeros(entry.shape, entry.dtype) for name, entry in spec.extras.items()}
    return {**blank, "action": np.zeros(spec.action.size, spec.action.dtype), "reward": np.zeros((), spec.reward_dtype)}


def _write_synced(file: Path, write: Any) -> None:
    """Write beside, down to the disk, and rename."""
    draft = file.with_name(f".{file.name}")
    try:
        with draft.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
