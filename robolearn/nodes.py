"""Nodes of a config as plain dictionaries and as objects: a constructor's signature is the schema, a mistake names the nearest argument."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from robolearn.errors import UserError, nearest
from robolearn.kinds import as_hinted, parameter_hints


def to_dict(config: Any) -> dict[str, Any]:
    """A config node as plain dictionaries and lists, interpolations resolved.

    Raises:
        UserError: a mandatory value (``???``) is missing; the message names it.
    """
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise UserError(f"missing value{'s' if len(missing) > 1 else ''}: give " + " ".join(f"{key}=..." for key in missing))
        return dict(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
    except InterpolationToMissingValueError as error:
        raise UserError(f"missing value: give {str(error).splitlines()[0].rpartition(': ')[2]}=...") from error
    except OmegaConfBaseException as error:
        raise UserError(str(error).splitlines()[0].removeprefix("KeyError raised while resolving interpolation: ").strip('"')) from error


def instantiate(node: Mapping[str, Any] | DictConfig, **arguments: Any) -> Any:
    """Call the ``_target_`` of a node with its values and ``arguments``; nested nodes with a ``_target_`` are built first.

    Raises:
        UserError: no such target, or an argument that it does not take; the message names the nearest.
    """
    values: dict[str, Any] = to_dict(node) if isinstance(node, DictConfig) else dict(node)
    if "_target_" not in values:
        raise UserError(f"nothing to build: no _target_ among {sorted(values)}")
    name = values.pop("_target_")
    target = find_target(name)
    values = {key: instantiate(value) if isinstance(value, dict) and "_target_" in value else value for key, value in values.items()}
    check_arguments(name, target, values)
    return _call(name, target, {**values, **arguments})


def _call(name: str, target: Any, arguments: dict[str, Any]) -> Any:
    try:
        inspect.signature(target).bind(**arguments)
    except TypeError as error:
        raise UserError(f"{name}: {error}; given {', '.join(arguments) or 'nothing'}") from error
    hints = parameter_hints(target)
    for key, value in arguments.items():
        try:
            arguments[key] = as_hinted(hints[key], value) if key in hints else value
        except ValueError as error:
            raise UserError(f"{name}: {key} takes {error}; got {'null' if value is None else repr(value)}") from error
    try:
        return target(**arguments)
    except UserError:
        raise
    except ValueError as error:  # what a constructor says of a value that it does not take
        raise UserError(f"{name}: {error}") from error


def find_target(name: str) -> Any:
    """The class, function or class method that a ``_target_`` string names.

    Raises:
        UserError: the module or the name in it does not exist, or a package that it needs is not installed.
    """
    words = name.split(".")
    for split in range(len(words) - 1, 0, -1):
        module_name = ".".join(words[:split])
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name and not f"{module_name}.".startswith(f"{error.name}."):
                raise UserError(f"{name} needs the package {error.name!r}, which is not installed; see `robolearn doctor`") from error
            continue
        for place, word in enumerate(words[split:], split):
            if not hasattr(found, word):
                raise UserError(f"_target_ {name!r}: {'.'.join(words[:place])} has no {word!r}{nearest(word, dir(found))}")
            found = getattr(found, word)
        return found
    raise UserError(f"_target_ {name!r}: there is no such module")


def accepted_arguments(target: Any) -> list[str] | None:
    """Argument names of a callable, or None when it takes any (``**kwargs``)."""
    parameters = inspect.signature(target).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [parameter.name for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_POSITIONAL]


def check_arguments(name: str, target: Any, given: Iterable[str]) -> None:
    """Raise ``UserError`` with the nearest name where ``target`` takes no such argument."""
    known = accepted_arguments(target)
    for key in given:
        if known is not None and key not in known:
            raise UserError(f"{name} takes no {key!r}; it takes {', '.join(known)}{nearest(key, known)}")


def make_environment(task: Mapping[str, Any] | DictConfig, num_envs: int, **arguments: Any) -> Any:
    """The vector environment of a task node: ``task.env``'s target with ``num_envs`` rows.

    Raises:
        UserError: fewer than one row, or a value that the environment does not take.
    """
    if num_envs < 1:
        raise UserError(f"an environment needs at least one world, got {num_envs}")
    return instantiate(task["env"], num_envs=num_envs, **arguments)
