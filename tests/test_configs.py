"""Every YAML composes, what it names exists, and its values are arguments of what it names."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig, ListConfig, OmegaConf

from robolearn import cli
from robolearn.checkpoint import build
from robolearn.config import CONF, choices, compose, groups
from robolearn.demo import read_stages
from robolearn.nodes import accepted_arguments, find_target, instantiate, make_environment, to_dict
from robolearn.normalize import ACTION, Affine, Normalizer
from robolearn.spec import ArraySpec
from robolearn.tasks import one_leg_spec

VERBS = sorted(file.stem for file in CONF.glob("*.yaml") if not file.stem.startswith("_"))


def nodes(config):
    """Every node that has a ``_target_``, except the root, whose target gets the config itself."""
    for key in config.keys() if isinstance(config, DictConfig) else range(len(config)):
        if OmegaConf.is_missing(config, key) or (isinstance(config, DictConfig) and OmegaConf.is_interpolation(config, key)):
            continue  # what an interpolation leads to is met where it stands
        value = config[key]
        if isinstance(value, DictConfig):
            yield from ([value] if "_target_" in value else [])
        if isinstance(value, DictConfig | ListConfig):
            yield from nodes(value)


def check_nodes(config):
    """A ``name`` beside a target is a label for people; the verb takes it off."""
    for node in nodes(config):
        known = accepted_arguments(find_target(node._target_))
        unknown = [key for key in node if key not in ("_target_", "name") and known is not None and key not in known]
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


@pytest.mark.parametrize("name", choices("policy"))
def test_every_policy_builds_and_draws_chunks_for_one_leg(name):
    spec = one_leg_spec()
    arrays = {**{key: entry.shape[0] for key, entry in spec.observation.items()}, ACTION: spec.action.size}
    if name.endswith("image"):
        spec = replace(spec, observation={**spec.observation, "front": ArraySpec((240, 320, 3), "uint8")})
    normalizer = Normalizer({key: Affine(np.zeros(size, np.float32), np.ones(size, np.float32)) for key, size in arrays.items()})
    node = {key: value for key, value in to_dict(compose("train", [f"policy={name}", "store=x"]))["policy"].items() if key != "name"}
    model = build({**node, "observation_keys": list(spec.observation)}, spec, normalizer).eval()
    observation = {key: np.zeros((2, model.observation_horizon, *entry.shape), entry.dtype) for key, entry in spec.observation.items()}
    chunks = model.sample(observation, np.arange(2), np.zeros(2, np.int64), 3)
    assert chunks.shape == (2, 3, model.prediction_horizon, 10)
    assert np.isfinite(chunks).all()


@pytest.mark.parametrize("name", choices("task"))
def test_every_task_gives_what_its_spec_promises_and_its_expert_if_any_acts_in_it(name):
    task = compose("collect", [f"task={name}"]).task
    env = make_environment(task, num_envs=2)
    try:
        observation, _ = env.reset(seed=[1, 2])
        env.env_spec.check_observation(observation)
        if "expert" in task:
            expert = instantiate(task.expert, num_envs=2)
            expert.reset(np.ones(2, bool), np.array([1, 2]))
            env.env_spec.check_observation(env.step(expert.act(observation))[0])
    finally:
        env.close()


@pytest.mark.parametrize("recipe", choices("recipe"))
def test_every_command_of_a_recipe_is_understood(recipe, monkeypatch):
    monkeypatch.setenv("ROBOLEARN_FIXTURES", "somewhere")
    for stage in read_stages(to_dict(compose("demo", [f"recipe={recipe}", "++trained=somewhere"]))):
        options = stage.words(Path("somewhere"))[len(stage.verb.split()) :]
        to_dict(compose(stage.verb.replace(" ", "_"), options))


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
    """The store's tools aside, which have options of their own; and worlds, robots and recipes, of which one is looked up."""
    looked_up = ("task", "robot", "recipe")
    files = [file for file in CONF.rglob("*.yaml") if not file.name.startswith("data_") and file.parent.name not in looked_up]
    assert len(files) <= 28  # one a verb, and the members of three groups
