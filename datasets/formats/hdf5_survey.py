"""What demonstrations an HDF5 file claims to hold: groups ``data/demo_<i>`` by number, filter keys, arrays, attributes outside them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from robolearn.datasets.formats.hdf5 import NUMBERS, Hdf5Source
from robolearn.datasets.formats.hdf5_plan import ACTIONS, OBSERVATION, Claim, Demo, misfit
from robolearn.datasets.layout import StoreError
from robolearn.errors import nearest

_DEMO = re.compile(r"demo_(\d{1,18})")
LeaveOut = Callable[[str, StoreError], None]


class Survey:
    """A look through an open file, before any array is read.

    Args:
        source: the file's reader.
        file: the open file.
        leave_out: called with the name and the error of a demonstration that cannot be used; raises, or remembers it.
        hint: more to say of a demonstration without actions, from its arrays' names.

    Attributes:
        data: the group of demonstrations.
        attrs: attributes of the file and of ``data``, as JSON.
        names: all demonstrations, by number: ``demo_10`` after ``demo_9``, whatever the first is and wherever there are gaps.
        masks: names by filter key.
        lost: what a store cannot hold.

    Raises:
        StoreError: there are no demonstrations.
    """

    def __init__(self, source: Hdf5Source, file: Any, leave_out: LeaveOut, hint: Callable[[Iterable[str]], str]) -> None:
        self.source, self._leave_out, self._hint = source, leave_out, hint
        members = source.members(file)
        if "data" not in members or not source.is_group(members["data"]):
            raise StoreError(f"{source.path} has no group 'data' with demonstrations; it has {', '.join(members) or 'nothing'}")
        self.data = members["data"]
        self.lost = [f"/{name}: neither data nor mask" for name in members if name not in ("data", "mask")]
        self.attrs: dict[str, Any] = {}
        for name, group in (("/", file), ("data", self.data)):
            packed, strange = source.attributes(group)
            self.lost += [f"attribute {entry!r} of {name}: neither text nor numbers" for entry in strange]
            self.attrs |= {name: packed} if packed else {}
        self.names = self._demo_names()
        self.masks = self._read_masks(members.get("mask"))

    def _demo_names(self) -> list[str]:
        members = self.source.members(self.data)
        found = [name for name, entry in members.items() if _DEMO.fullmatch(name) and self.source.is_group(entry)]
        self.lost += [f"data/{name}: not a demonstration named demo_<number>" for name in members if name not in found]
        if not found:
            raise StoreError(f"{self.source.path} has no demonstrations data/demo_<number>; data has {', '.join(members) or 'nothing'}")
        return sorted(found, key=lambda name: (int(name[5:]), name))

    def _read_masks(self, group: Any) -> dict[str, list[str]]:
        if group is None or not self.source.is_group(group):
            return {}
        masks = {}
        for key, entry in self.source.members(group).items():
            if not self.source.is_array(entry):
                self.lost.append(f"mask/{key}: not a list of names")
                continue
            masks[key] = self.source.texts(entry)
            if unknown := sorted(set(masks[key]) - set(self.names)):
                self.lost.append(f"mask/{key} names {len(unknown)} demonstrations that are not there, such as {unknown[0][:40]!r}")
        return masks

    def chosen(self, filter_key: str | None) -> list[str]:
        """The demonstrations that a filter key lists, or all, by number."""
        if filter_key is None:
            return self.names
        path = self.source.path
        if filter_key not in self.masks:
            there = ", ".join(sorted(self.masks)) or "none"
            raise StoreError(f"{path} has no filter key {filter_key!r}; it has {there}{nearest(filter_key, self.masks)}")
        listed = set(self.masks[filter_key])
        for absent in sorted(listed - set(self.names)):
            self._leave_out(absent[:40], StoreError(f"{path}: mask/{filter_key} lists {absent[:40]!r}, which is not there"))
        found = [name for name in self.names if name in listed]
        if not found:
            raise StoreError(f"{path}: filter key {filter_key!r} lists no demonstration that is there")
        return found

    def demos(self, names: list[str]) -> list[Demo]:
        """What each demonstration claims to hold, checked against the first.

        Raises:
            StoreError: one is damaged, has no actions or does not fit the first, or none is left.
        """
        found: list[Demo] = []
        for name in names:
            try:
                demo = self._demo(name)
                if found and (why := misfit(demo, found[0])):
                    raise StoreError(f"{self.source.path}: {why}")
                found.append(demo)
            except StoreError as error:
                self._leave_out(name, error)
            except Exception as error:  # h5py raises many kinds for damaged bytes
                self._leave_out(name, StoreError(f"{self.source.path}: {name} is damaged ({' '.join(str(error).split())})"))
        if not found:
            raise StoreError(f"{self.source.path} holds no whole demonstration")
        return found

    def _demo(self, name: str) -> Demo:
        where, group = f"{self.source.path}: {name}", self.data[name]
        arrays, groups = {}, [""]
        for path, entry in self.source.walk(group):
            if self.source.is_array(entry):
                arrays[path] = Claim(entry.dtype.name, tuple(entry.shape or ()), self.source.admit(entry))
            elif self.source.is_group(entry):
                groups.append(path)
        if ACTIONS not in arrays:
            raise StoreError(f"{where} lacks actions; it has {', '.join(sorted(arrays)) or 'no arrays'}{self._hint(arrays)}")
        claim = arrays[ACTIONS]
        demo = Demo(name, claim.shape[0] if claim.shape else 0, arrays, tuple(groups))
        if not demo.per_step(ACTIONS) or claim.dtype == "bool" or len(claim.shape) != 2 or 0 in claim.shape:
            raise StoreError(f"{where}/actions is {claim.dtype} {claim.shape}, expected numbers of shape (steps, channels)")
        for path, entry in arrays.items():
            if path.startswith(OBSERVATION) and entry.dtype in NUMBERS and not demo.per_step(path):
                raise StoreError(f"{where}/{path} has shape {entry.shape}, expected a row for each of {demo.steps} actions")
        told = self.source.attribute(group, "num_samples")
        if told is not None and not _is(told, demo.steps):
            raise StoreError(
                f"{where} has num_samples {np.ravel(told)[:1].tolist()} and {demo.steps} actions: it was cut, or written by halves"
            )
        return demo


def _is(told: Any, steps: int) -> bool:
    values = np.ravel(told)
    return len(values) == 1 and values.dtype.kind in "iuf" and float(values[0]) == steps


def parsed(text: Any) -> dict[str, Any]:
    """A JSON object, or nothing where the text is something else."""
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
