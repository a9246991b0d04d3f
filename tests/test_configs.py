"""Every YAML composes, what it names exists, and its values are arguments of what it names."""

from itertools import pairwise

import pytest
from omegaconf import DictConfig, ListConfig, OmegaConf

from robolearn import cli
from robolearn.config import CONF, accepted_arguments, choices, compose, find_target, groups

VERBS = sorted(file.stem for file in CONF.glob("*.yaml") if not file.stem.startswith("_"))


def nodes(config):
    """Every node that has a ``_target_``, except the root, whose target gets the config itself."""
    for key in config.keys() if isinstance(config, DictConfig) else range(len(config)):
        if OmegaConf.is_missing(config, key):
            continue
        value = config[key]
        if isinstance(value, DictConfig):
            yield from ([value] if "_target_" in value else [])
        if isinstance(value, DictConfig | ListConfig):
            yield from nodes(value)


def check_nodes(config):
    for node in nodes(config):
        known = accepted_arguments(find_target(node._target_))
        unknown = [key for key in node if key != "_target_" and known is not None and key not in known]
        assert not unknown, f"{node._target_} takes no {unknown}"


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_config_composes_and_its_targets_take_its_values(verb):
    config = compose(verb)
    assert callable(find_target(config["_target_"]))
    check_nodes(config)


def users_of(group):
    return [verb for verb in VERBS if f"{group}:" in (CONF / f"{verb}.yaml").read_text().partition("\n\n")[0]]


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in groups() if group != "recipe" for name in choices(group)])
def test_a_group_member_composes_into_every_verb_that_has_the_group(group, name):
    assert users_of(group), f"no verb uses the group {group}"
    for verb in users_of(group):
        check_nodes(compose(verb, [f"{group}={name}"]))


def test_every_verb_is_on_the_command_line():
    known = [verb for verb in cli.VERBS if verb not in cli.TOOLS] + [
        f"{verb}_{tool}" for verb, tools in cli.TOOLS.items() for tool in tools
    ]
    assert sorted(known) == VERBS


COMMON = {"tensorboard", "json", "out", "resume", "overwrite", "name", "store_type", "_target_", "defaults"}


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_says_what_it_means(verb):
    """The comments are the verb's help: at the option's line, or above it; those that all verbs share are in docs/index.md."""
    lines = ["", *(CONF / f"{verb}.yaml").read_text().splitlines()]
    options = [(above, line) for above, line in pairwise(lines) if line[:1].isalpha() and not line.endswith(":")]
    silent = [line for above, line in options if "#" not in line and not above.startswith("#") and line.split(":")[0] not in COMMON]
    assert not silent


def test_there_are_few_enough_configs_to_know_them_all():
    assert len(list(CONF.rglob("*.yaml"))) <= 30
