"""Checkpoints: a folder of safetensors and JSON that rebuilds its policy with nothing else, written beside and renamed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robolearn.errors import UserError
from robolearn.nodes import check_arguments, find_target
from robolearn.normalize import Normalizer
from robolearn.spec import EnvSpec

if TYPE_CHECKING:
    import torch

FORMAT = 1
Tensors = Mapping[str, "torch.Tensor"]


class CheckpointError(UserError):
    """A checkpoint is missing, broken, or does not fit."""


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint folder.

    ``config`` is the model's node (``_target_`` and arguments), ``meta`` whatever else the learner wrote (step,
    learner state in JSON). Tensors are read when asked for, by group name (``model``, ``ema``, ``optimizer``, ...).
    """

    path: Path
    config: dict[str, Any]
    env_spec: EnvSpec
    normalizer: Normalizer
    meta: dict[str, Any]

    def tensors(self, group: str) -> dict[str, torch.Tensor]:
        """All tensors of one group.

        Raises:
            CheckpointError: the group's file is missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        file = self.path / f"{group}.safetensors"
        if not file.is_file():
            raise CheckpointError(f"{self.path} holds no {group!r} tensors; it has {self.groups()}")
        try:
            return load_file(file)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} is damaged ({error}); use another step of {self.path.parent}") from error

    def groups(self) -> list[str]:
        """Names of the tensor groups."""
        return sorted(file.stem for file in self.path.glob("*.safetensors"))

    def fingerprint(self) -> str:
        """The folder's name and a digest of its files: what is trained anew at the same path has another."""
        digest = hashlib.sha256()
        for file in sorted(self.path.iterdir()):
            content = hashlib.sha256()
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    content.update(block)
            digest.update(f"{file.name} {content.hexdigest()}\n".encode())
        return f"{self.path.name} {digest.hexdigest()[:16]}"


def step_name(step: int) -> str:
    """Folder name of a step: 5000 -> ``step_0005000``."""
    return f"step_{step:07d}"


def save_checkpoint(
    root: Path,
    step: int,
    *,
    config: Mapping[str, Any],
    env_spec: EnvSpec,
    normalizer: Normalizer,
    tensors: Mapping[str, Tensors],
    meta: Mapping[str, Any] | None = None,
    links: tuple[str, ...] = ("last",),
) -> Path:
    """Write ``root/step_XXXXXXX/`` completely, then rename it into place and point ``links`` at it.

    A crash or a full disk leaves the earlier checkpoints and links as they were.
    """
    root.mkdir(parents=True, exist_ok=True)
    target = root / step_name(step)
    draft = root / f".{target.name}.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        document = {
            "format": FORMAT,
            "step": step,
            "config": dict(config),
            "env_spec": env_spec.to_dict(),
            "normalizer": normalizer.to_dict(),
            "meta": dict(meta or {}),
        }
        (draft / "checkpoint.json").write_text(json.dumps(document, indent=1))
        for group, group_tensors in tensors.items():
            _save_tensors(group_tensors, draft / f"{group}.safetensors")
        if target.exists():
            shutil.rmtree(target)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    for link in links:
        point_link(root, link, target.name)
    return target


def _save_tensors(tensors: Tensors, file: Path) -> None:
    """Write one group; a full or failing disk is an ``OSError``, which safetensors itself hides in a text."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(file)) from error


def point_link(root: Path, link: str, name: str) -> None:
    """Make ``root/link`` point at ``name``, atomically."""
    draft = root / f".{link}.{os.getpid()}"
    draft.unlink(missing_ok=True)
    draft.symlink_to(name)
    draft.replace(root / link)


def prune_checkpoints(root: Path, keep_every: int | None = None) -> None:
    """Delete the steps in ``root`` that no link points at and that are no multiples of ``keep_every``."""
    linked = {link.resolve().name for link in root.iterdir() if link.is_symlink()}
    for folder in root.glob("step_*"):
        kept = keep_every and int(folder.name.removeprefix("step_")) % keep_every == 0
        if folder.name not in linked and not kept:
            shutil.rmtree(folder, ignore_errors=True)


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint folder, a run folder (its ``best``, else ``last``), or a ``checkpoints/`` folder.

    Raises:
        CheckpointError: nothing there, or not readable; the message says what was looked for.
    """
    given = Path(path)
    tried = [given, *(given / sub / link for link in ("best", "last") for sub in ("checkpoints", "."))]
    for place in tried:
        file = place / "checkpoint.json"
        if file.is_file():
            return _read(file)
    raise CheckpointError(f"no checkpoint at {given}: looked for checkpoint.json in " + ", ".join(str(place) for place in tried))


def _read(file: Path) -> Checkpoint:
    try:
        document = json.loads(file.read_text())
        if document["format"] > FORMAT:
            raise CheckpointError(f"{file} has format {document['format']}, this robolearn reads up to {FORMAT}; update robolearn")
        return Checkpoint(
            path=file.parent.resolve(),
            config=dict(document["config"]),
            env_spec=EnvSpec.from_dict(document["env_spec"]),
            normalizer=Normalizer.from_dict(document["normalizer"]),
            meta={"step": document["step"], **document["meta"]},
        )
    except CheckpointError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # UnicodeDecodeError and SpecError are ValueErrors
        raise CheckpointError(f"{file} is damaged: {error!r}") from error


def read_keys(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Observations a saved model reads, its nested base's among them; None where its config does not say."""
    nested = [read_keys(value) for value in config.values() if isinstance(value, Mapping) and "_target_" in value]
    own = config.get("observation_keys")
    if own is None and not nested:
        return None
    return tuple(dict.fromkeys([*(own or ()), *(name for keys in nested for name in keys or ())]))


def build(config: Mapping[str, Any], env_spec: EnvSpec, normalizer: Normalizer, device: str = "cpu") -> Any:
    """Instantiate a model node: nested nodes first, each given ``env_spec`` and ``normalizer``.

    Raises:
        UserError: no such class, an argument that it does not take, or a value that it cannot work with.
    """
    arguments: dict[str, Any] = {}
    for name, value in config.items():
        nested = isinstance(value, Mapping) and "_target_" in value
        arguments[name] = build(value, env_spec, normalizer) if nested else value
    if "_target_" not in arguments:
        raise UserError(f"nothing to build: no _target_ among {sorted(arguments)}")
    name = str(arguments.pop("_target_"))
    target = find_target(name)
    if not isinstance(target, type):
        raise UserError(f"_target_ {name!r} is no class, and a model is one")
    check_arguments(name, target, arguments)
    try:
        model = target(env_spec=env_spec, normalizer=normalizer, **arguments).to(device)
    except UserError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:  # what a network says of a value that it cannot be built with
        raise UserError(f"{name}: {' '.join(str(error).split())}") from error
    empty = [parameter for parameter, values in model.named_parameters() if not values.numel()]
    if empty:
        raise UserError(f"{name}: {empty[0]} would hold no weights; sizes of layers are at least 1, given {arguments}")
    return model


def load_model(path: str | Path, device: str = "cpu", weights: str | None = None) -> Any:
    """Rebuild the model of a checkpoint with its weights, in eval mode and frozen.

    Args:
        path: anything :func:`open_checkpoint` takes.
        device: torch device name.
        weights: tensor group; ``ema`` where there is one, else ``model``, unless named.

    Raises:
        CheckpointError: nothing there, damaged, or its config and tensors make no model here.
    """
    checkpoint = open_checkpoint(path)
    try:
        model = build(checkpoint.config, checkpoint.env_spec, checkpoint.normalizer, device)
    except CheckpointError:
        raise
    except UserError as error:
        raise CheckpointError(f"{checkpoint.path} cannot be rebuilt: {error}") from error
    group = weights or ("ema" if "ema" in checkpoint.groups() else "model")
    try:
        model.load_state_dict(checkpoint.tensors(group))
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint.path}: the {group!r} tensors do not fit the model that its config describes") from error
    return model.eval().requires_grad_(False)
