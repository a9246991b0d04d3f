"""Configuration: composes a verb's YAML with the user's overrides, and names the nearest name on a mistake."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from robolearn.errors import UserError, nearest
from robolearn.kinds import COUNT, LIST, NUMBER, TRUTH, as_hinted, fits, kind_of, meant, parameter_hints
from robolearn.nodes import accepted_arguments, find_target

CONF = Path(__file__).parent / "conf"
ONCE = ("resume", "overwrite", "only")  # options of one call, which a later one does not repeat
OVERRIDES = "_overrides_"  # where a composed config keeps the words that made it, so that resume can repeat them

# What options take whose default is null, by the last word of their key.
NULL_KINDS = dict.fromkeys(("threads", "max_attempts", "at_least", "num_envs", "keep_every"), COUNT)
NULL_KINDS |= {
    "minutes": NUMBER,
    "episodes": LIST,
    "statistics": TRUTH,
    "per_episode": TRUTH,
    "where": LIST,
    "ranges": LIST,
    "success": TRUTH,
}
NULL_KINDS |= {"fraction": NUMBER, "episode": COUNT, "failure_step": COUNT, "appearance": COUNT, "fps": NUMBER}
COUNTS = ("episodes", "seeds")  # lists of whole numbers, by name, where the default does not show it
# Tools of `data` whose lists of episodes may hold ranges, as 7-9.
RANGED = ("drop", "split", "trim", "label", "stats", "render", "annotate")
# Options with a default that may be null all the same, by verb: budgets of which another is left, words that may be missing.
NULLABLE = {"train": ("training.steps",), "finetune": ("env_steps", "minutes", "name"), "serve": ("steering_budget_ms",)}


def option_value(text: object) -> str:
    """A text as the value of an option, quoted where it holds more than letters, digits and ``. / : + @ % - _``.

    These are the quotes of the configuration's own grammar; for a person to paste, a shell's come on top (:func:`shlex.join`).
    """
    word = str(text)
    if re.fullmatch(r"[\w./:+@%-]*", word):
        return word
    return "'" + re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), word) + "'"


def choices(group: str) -> list[str]:
    """Names of the YAML files of a config group such as ``task`` or ``recipe``."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def groups() -> list[str]:
    """Names of the config groups."""
    return sorted(folder.name for folder in CONF.iterdir() if folder.is_dir() and not folder.name.startswith(("_", ".")))


def compose(verb: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The config of a verb: ``conf/<verb>.yaml``, its groups, and ``overrides`` such as ``task=one_leg`` or ``training.steps=100``.

    A key that the YAML leaves out is taken when it is an argument of the ``_target_`` of its node, or its node is empty
    (``{}``). With ``resume=true out=DIR`` the overrides of the run in ``DIR`` come first, so that they need not be repeated.

    Raises:
        UserError: unknown key, group member or syntax, or a value of another kind than the default (text for a number); the
            message names what would have worked.
    """
    from hydra.errors import HydraException, OverrideParseException

    words = _with_resumed(verb, [_quoted_conditions(" ".join(word.splitlines())) for word in overrides])  # the grammar knows no newline
    selections = tuple(word for word in words if _is_selection(word))
    for word in selections:
        _check_selection(word)
    try:
        base = _base(CONF, verb, selections)
        values = [word for word in words if word not in selections]
        config = _overridden(base, [_checked(word, base, verb) for word in values])
        for word in values:
            if not word.startswith("~"):
                _check_kind(_key(word), base, config, verb)
    except OverrideParseException as error:
        key, _, value = error.override.lstrip("+").partition("=")
        quoted = shlex.quote(f'{key}="{value}"')
        what = f"{key}={value} ({error.message.splitlines()[0]})"
        raise UserError(f"{verb}: cannot read {what}; a value with special characters is quoted: {quoted}") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"{verb}: {' '.join(str(error).split())}") from error
    OmegaConf.set_struct(config, False)
    config[OVERRIDES] = [word for word in words if _key(word) not in ONCE]
    OmegaConf.set_struct(config, True)
    return config


@lru_cache
def _base(conf: Path, verb: str, selections: tuple[str, ...]) -> DictConfig:
    """The config of a verb with these members of its groups; not to be changed, as it is composed once a process."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        return hydra_compose(verb, list(selections))


def _overridden(base: DictConfig, words: list[str]) -> DictConfig:
    """A copy with these overrides: the last steps of Hydra's composing, which would take ten times as long from its start."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.types import RunMode

    overrides, config = OverridesParser.create().parse_overrides(words), deepcopy(base)
    ConfigLoaderImpl(create_config_search_path(None)).validate_sweep_overrides_legal(overrides, RunMode.RUN, from_shell=False)
    ConfigLoaderImpl._apply_overrides_to_config(overrides, config)
    return config


def _key(word: str) -> str:
    return word.split("=", 1)[0].lstrip("+~")


def _is_selection(word: str) -> bool:
    """Whether an override picks a member of a config group (``task=one_leg``, ``recipe=one_leg_human``)."""
    group, value = _key(word).split("@")[0], word.partition("=")[2]
    return "=" in word and bool(group) and (CONF / group).is_dir() and not value.startswith(("{", "["))


def _check_selection(word: str) -> None:
    group, name = _key(word).split("@")[0], word.split("=", 1)[1]
    if name not in choices(group):
        raise UserError(f"no {group} {name!r}; there are {', '.join(choices(group))}{nearest(name, choices(group))}")


def _checked(word: str, base: DictConfig, verb: str) -> str:
    """The override itself, made an addition when its key is an unset argument of a ``_target_``."""
    if "=" not in word and not word.startswith("~"):
        raise UserError(f"{word!r} is no override: write key=value, such as seed=1")
    key = _key(word)
    if word.startswith(("+", "~")):
        return word
    if _exists(base, key):
        found = None if OmegaConf.is_missing(base, key) else OmegaConf.select(base, key)
        return f"++{word}" if isinstance(found, DictConfig) and not len(found) else word
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(base, parent) if parent else None
    known: list[str] = []
    if isinstance(node, DictConfig) and not len(node):
        known = [leaf]
    elif isinstance(node, DictConfig) and "_target_" in node:
        known = accepted_arguments(find_target(str(node["_target_"]))) or [leaf]
    if leaf in known:
        return f"++{word}"
    siblings = sorted({*known, *(str(name) for name in node if name != "_target_")}) if isinstance(node, DictConfig) else []
    if parent and siblings:
        raise UserError(f"{verb} has no option {key!r}; {parent} takes {', '.join(siblings)}{nearest(leaf, siblings)}")
    hint = nearest(key, _leaf_keys(base))
    raise UserError(f"{verb} has no option {key!r}{hint} (`robolearn {verb.replace('_', ' ')} --help` lists them)")


def _check_kind(key: str, base: DictConfig, config: DictConfig, verb: str) -> None:
    """Hold a given value against the kind of the default: a list for a list, null where null is meant."""
    parent, _, leaf = key.rpartition(".")
    if not _exists(base, key) or OmegaConf.is_missing(base, key) or OmegaConf.is_interpolation(OmegaConf.select(config, parent), leaf):
        return
    default, given = (OmegaConf.select(node, key, throw_on_resolution_failure=False) for node in (base, config))
    kind = NULL_KINDS.get(leaf) if default is None else kind_of(default)
    if kind is None or (given is None and (default is None or key in NULLABLE.get(verb, ()) or _may_be_null(key, base))):
        return
    if not fits(given, kind):
        entries = str(given) if not isinstance(default, ListConfig) or len(default) < 2 else ",".join(map(str, default))
        example = f", such as {key}=[{entries}]" if kind == LIST and isinstance(given, str | int | float) else ""
        raise UserError(f"{key} takes {kind}{example}; got {'null' if given is None else repr(given)}")
    if type(value := meant(given, kind)) is not type(given):
        OmegaConf.update(config, key, value)
    if kind == LIST and (entry_kind := kind_of(default[0]) if default else _entry_kind(leaf, verb)):
        for entry in given:
            if not fits(entry, entry_kind):
                raise UserError(f"{key} takes a list, each entry {entry_kind}; got {entry!r} in it")


def _entry_kind(leaf: str, verb: str) -> str | None:
    return COUNT if leaf in COUNTS and verb not in {f"data_{tool}" for tool in RANGED} else None


def _quoted_conditions(word: str) -> str:
    """``where=[success=true,steps>9]`` with each condition quoted, as the grammar of overrides wants signs to be."""
    match = re.fullmatch(r"where=\[([^'\"]*)\]", word)
    if match is None:
        return word
    return f"where=[{','.join(option_value(entry.strip()) for entry in match[1].split(',') if entry.strip())}]"


def _may_be_null(key: str, base: DictConfig) -> bool:
    """Whether the constructor that takes an option says that it may be null."""
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(base, parent) if parent else None
    hint = parameter_hints(find_target(str(node["_target_"]))).get(leaf) if isinstance(node, DictConfig) and "_target_" in node else None
    try:
        return hint is not None and as_hinted(hint, None) is None
    except ValueError:
        return False


def _exists(base: DictConfig, key: str) -> bool:
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(base, parent) if parent else base
    if isinstance(node, DictConfig):
        return leaf in node.keys()  # noqa: SIM118 - `in node` is false for a mandatory value that is still missing
    return node is not None and OmegaConf.select(base, key) is not None


def _leaf_keys(node: Any, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for key in node.keys():  # noqa: SIM118 - as above
        path = f"{prefix}{key}"
        value = None if OmegaConf.is_missing(node, key) else node._get_node(key)
        keys += [path, *_leaf_keys(value, f"{path}.")] if isinstance(value, DictConfig) and not value._is_none() else [path]
    return keys


def _with_resumed(verb: str, words: list[str]) -> list[str]:
    """With ``resume=true out=DIR``: the overrides saved in DIR, then ``words``; a later one replaces an earlier one.

    Raises:
        UserError: DIR is a run of another verb, or its config is damaged.
    """
    given = _values(words)
    saved = Path(str(given.get("out", ""))) / "config.yaml"
    if given.get("resume") is not True or "out" not in given or not saved.is_file():
        return words
    before = read_config(saved)
    other = verb_of(before)
    if other and other != verb:
        named, mine = other.replace("_", " "), verb.replace("_", " ")
        hint = shlex.join(["robolearn", *named.split(), *words])
        raise UserError(f"{given['out']} is a run of `robolearn {named}`, not of `robolearn {mine}`; go on with: {hint}")
    earlier = list(before.get(OVERRIDES) or [])
    return [word for word in earlier if _key(word) not in given] + words


def read_config(file: Path) -> DictConfig:
    """The config that a run left.

    Raises:
        UserError: the file is torn, or holds something else.
    """
    try:
        config = OmegaConf.load(file)
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{file} is damaged ({' '.join(str(error).split())[:200]}); restore it from a copy") from error
    if not isinstance(config, DictConfig) or "_target_" not in config:
        raise UserError(f"{file} is damaged (it holds no options of a verb); restore it from a copy")
    return config


def verb_of(config: DictConfig) -> str:
    """The verb that a run's config is of; empty where that is unknown."""
    target = config.get("_target_")
    return next((file.stem for file in sorted(CONF.glob("*.yaml")) if f"_target_: {target}\n" in file.read_text()), "")


def _values(words: list[str]) -> dict[str, Any]:
    """What each override sets, without the quotes and escapes of the grammar; a word that it does not know is composing's to refuse."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser, values = OverridesParser.create(), {}
    for word in words:
        try:
            values[_key(word)] = parser.parse_override(word).value()
        except HydraException:
            continue
    return values
