"""Composing a verb's config, and building objects from it."""

import re
import shlex

import pytest
from omegaconf import OmegaConf

from robolearn import config
from robolearn.config import compose, option_value
from robolearn.errors import UserError, nearest
from robolearn.nodes import instantiate, to_dict
from robolearn.run import go_on, start_run


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A config folder with one verb, one group and a node that has a target."""
    (tmp_path / "shape").mkdir()
    (tmp_path / "shape" / "square.yaml").write_text("_target_: tests.test_config.Box\nwidth: 2\n")
    (tmp_path / "shape" / "slab.yaml").write_text("_target_: tests.test_config.Box\nwidth: 9\n")
    (tmp_path / "draw.yaml").write_text(
        "_target_: x.main\ndefaults: [_self_, shape: square]\nout: null\nresume: false\nepisodes: []\nstore: ???\n"
        "training: {steps: 10, rate: 0.1}\nextra: {}\nseeds: [0]\nthreads: null\n"
        "device: cpu\nstatistics: null\ncase: {_target_: tests.test_config.Case, label: small}\n"
    )
    monkeypatch.setattr(config, "CONF", tmp_path)
    monkeypatch.setattr(config, "NULLABLE", {"draw": ("training.steps",)})
    return tmp_path


class Box:
    def __init__(self, width, height=1, inside=None):
        if width < 0:
            raise UserError("width must not be negative")
        if height < 0:
            raise ValueError("depth must not be negative")
        self.width, self.height, self.inside = width, height, inside


class Case:
    def __init__(self, *, label: str | None = "small", count: int = 1, size: float = 1.0, lid: Box | None = None, on: bool = True):
        self.label, self.count, self.size, self.lid = label, count, size, lid


def test_overrides_change_values_and_group_members(conf):
    cfg = compose("draw", ["shape=slab", "training.steps=3"])
    assert (cfg.shape.width, cfg.training.steps, cfg.training.rate) == (9, 3, 0.1)


def test_a_constructor_argument_that_the_yaml_leaves_out_can_be_given(conf):
    cfg = compose("draw", ["shape.height=7"])
    assert instantiate(cfg.shape).height == 7


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("training.step=3", "training takes rate, steps; did you mean 'steps'?"),
        ("rate=3", "did you mean 'training.rate'?"),
        ("shape.heigth=3", "shape takes height, inside, width; did you mean 'height'?"),
        ("store=a(b", "quoted: 'store=\"a(b\"'"),
        ("shape=squar", "did you mean 'square'?"),
        ("nonsense=3", "draw has no option 'nonsense'"),
        ("=3", "draw has no option ''"),
        ("training.steps=abc", "training.steps takes a whole number, at least 0; got 'abc'"),
        ("training=5", "training takes nested options; got 5"),
        ("episodes=[0,a]", "episodes takes a list, each entry a whole number, at least 0; got 'a' in it"),
        ("resume=maybe", "resume takes true or false; got 'maybe'"),
        ("seeds=3", "seeds takes a list, such as seeds=[3]; got 3"),
        ("seeds=[a]", "seeds takes a list, each entry a whole number, at least 0; got 'a' in it"),
        ("threads=many", "threads takes a whole number, at least 0; got 'many'"),
        ("training.steps=2.5", "training.steps takes a whole number, at least 0; got 2.5"),
        ("training.steps=-1", "training.steps takes a whole number, at least 0; got -1"),
        ("seeds=[0.5]", "seeds takes a list, each entry a whole number, at least 0; got 0.5 in it"),
        ("threads=1.5", "threads takes a whole number, at least 0; got 1.5"),
        ("training.rate=null", "training.rate takes a number; got null"),
        ("training.rate=nan", "training.rate takes a number; got nan"),
        ("training=null", "training takes nested options; got null"),
        ("device=null", "device takes text; got null"),
        ("shape.width=null", "shape.width takes a whole number, at least 0; got null"),
        ("statistics=maybe", "statistics takes true or false; got 'maybe'"),
    ],
)
def test_an_unknown_name_is_an_error_that_names_the_nearest(conf, override, says):
    with pytest.raises(UserError, match=None) as caught:
        compose("draw", [override])
    assert says in str(caught.value)


def test_a_mandatory_value_can_be_given_and_is_named_when_missing(conf):
    assert to_dict(compose("draw", ["store=a.zarr"]))["store"] == "a.zarr"
    with pytest.raises(UserError, match=r"store=\.\.\."):
        to_dict(compose("draw"))


def test_a_whole_number_may_be_written_as_a_fraction_and_is_whole_then(conf):
    assert repr(compose("draw", ["training.steps=1e6"]).training.steps) == "1000000"


def test_null_is_taken_where_a_verb_or_a_constructor_means_it(conf):
    config = compose("draw", ["training.steps=null", "threads=null", "case.label=null"])
    assert config.training.steps is config.threads is config.case.label is None


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"count": "many"}, "count takes a whole number; got 'many'"),
        ({"count": 2.5}, "count takes a whole number; got 2.5"),
        ({"count": None}, "count takes a whole number; got null"),
        ({"count": True}, "count takes a whole number; got True"),
        ({"size": float("nan")}, "size takes a number; got nan"),
        ({"lid": "open"}, "lid takes a Box or null; got 'open'"),
        ({"on": "maybe"}, "on takes true or false; got 'maybe'"),
    ],
)
def test_a_value_is_held_against_the_annotation_of_the_argument(values, says):
    with pytest.raises(UserError, match=re.escape(f"tests.test_config.Case: {says}")):
        instantiate({"_target_": "tests.test_config.Case", **values})


def test_a_value_reaches_an_argument_as_its_annotation_means_it():
    case = instantiate({"_target_": "tests.test_config.Case", "label": 2024, "count": 1e3, "size": 2})
    assert (case.label, repr(case.count), case.size) == ("2024", "1000", 2)


def test_an_environment_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("ROBOLEARN_NOWHERE", raising=False)
    with pytest.raises(UserError, match=r"^Environment variable 'ROBOLEARN_NOWHERE' not found$"):
        to_dict(OmegaConf.create({"stages": ["source=${oc.env:ROBOLEARN_NOWHERE}/x.zip"]}))


NAMES = ["run", "a b,c=d", "it's", "back\\slash\\", "$HOME", 'say "so"']


@pytest.mark.parametrize("name", NAMES)
def test_the_command_that_goes_on_with_a_run_survives_a_shell(conf, tmp_path, name):
    start_run(compose("draw", ["store=a", f"out={option_value(tmp_path / name)}"]), "draw").log.close()
    program, verb, *words = shlex.split(go_on("draw", tmp_path / name))
    resumed = compose(verb, words)
    assert (program, resumed.out, resumed.store, resumed.resume) == ("robolearn", str(tmp_path / name), "a", True)


@pytest.mark.parametrize("name", NAMES)
def test_resume_repeats_the_overrides_of_the_run_and_later_ones_win(conf, tmp_path, name):
    out = f"out={option_value(tmp_path / name)}"
    cfg = compose("draw", ["store=a", "shape=slab", "training.steps=3", out])
    start_run(cfg, "draw").log.close()
    resumed = compose("draw", [out, "resume=true", "training.steps=5"])
    assert (resumed.store, resumed.shape.width, resumed.training.steps, resumed.resume) == ("a", 9, 5, True)


@pytest.mark.parametrize("text", ["foo: [1, 2\nbar: {", "just words", "\x00\x01"])
def test_a_damaged_config_of_the_run_is_named(conf, tmp_path, text):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"run/config.yaml is damaged"):
        compose("draw", [f"out={tmp_path / 'run'}", "resume=true"])


def test_a_run_of_another_verb_is_not_gone_on_with(conf, tmp_path):
    (conf / "paint.yaml").write_text("_target_: x.paint\nout: null\nresume: false\n")
    start_run(compose("paint", [f"out={tmp_path / 'run'}"]), "paint").log.close()
    with pytest.raises(UserError, match=r"is a run of `robolearn paint`, not of `robolearn draw`; go on with: robolearn paint out="):
        compose("draw", [f"out={tmp_path / 'run'}", "resume=true"])


def test_a_list_may_be_written_over_several_lines(conf):
    assert compose("draw", ["episodes=[\n  1,\n  2]"]).episodes == [1, 2]


def test_an_empty_node_takes_any_key(conf):
    assert compose("draw", ["extra.anything=[1,2]"]).extra.anything == [1, 2]
    assert compose("draw", ["extra={a: {b: 1}}"]).extra.a.b == 1


def test_instantiate_builds_nested_nodes_first():
    node = OmegaConf.create({"_target_": "tests.test_config.Box", "width": 1, "inside": {"_target_": "tests.test_config.Box", "width": 2}})
    assert instantiate(node).inside.width == 2


def test_instantiate_names_the_nearest_argument():
    with pytest.raises(UserError, match="did you mean 'width'"):
        instantiate({"_target_": "tests.test_config.Box", "widht": 1})


def test_instantiate_says_which_argument_is_missing():
    with pytest.raises(UserError, match="missing a required argument: 'width'"):
        instantiate({"_target_": "tests.test_config.Box", "height": 1})


def test_a_value_that_a_constructor_refuses_is_the_users_error():
    with pytest.raises(UserError, match=r"test_config.Box: depth must not be negative"):
        instantiate({"_target_": "tests.test_config.Box", "width": 1, "height": -1})


def test_instantiate_passes_on_what_the_constructor_says():
    with pytest.raises(UserError, match="must not be negative"):
        instantiate({"_target_": "tests.test_config.Box", "width": -1})


@pytest.mark.parametrize("target", ["robolearn.nowhere.Thing", "robolearn.errors.UserEror", "robolearn.spec.EnvSpec.nothing"])
def test_a_target_that_does_not_exist_is_the_users_error(target):
    with pytest.raises(UserError, match="_target_"):
        instantiate({"_target_": target})


def test_a_target_may_be_a_class_method():
    assert instantiate({"_target_": "robolearn.normalize.Normalizer.from_dict", "data": {}}).parts == {}


def test_nearest_says_nothing_when_nothing_is_near():
    assert nearest("zebra", ["width", "height"]) == ""


def test_a_value_that_another_asks_for_and_nobody_gave_is_named():
    with pytest.raises(UserError, match=r"^missing value: give trained=\.\.\.$"):
        to_dict(OmegaConf.create({"trained": "???", "base": "${trained}/base"}).copy())
