"""Checkpoints rebuild their model with nothing else, and a crash leaves the earlier ones whole."""

import errno
import json

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from robolearn import checkpoint as c
from robolearn.normalize import Normalizer, fit_affine
from robolearn.spec import ArraySpec, EnvSpec, tool_pose_action

SPEC = EnvSpec("reach", {"tcp_pos": ArraySpec((3,))}, tool_pose_action((-1, -1, 0), (1, 1, 1)), 10.0)
NORMALIZER = Normalizer({"tcp_pos": fit_affine(np.random.default_rng(0).normal(size=(9, 3)))})


class Model(torch.nn.Module):
    def __init__(self, *, env_spec, normalizer, width, base=None):
        super().__init__()
        self.env_spec, self.normalizer = env_spec, normalizer
        self.layer = torch.nn.Linear(3, width)
        self.base = base


CONFIG = {"_target_": f"{__name__}.Model", "width": 4}


def save(root, step, model, **more):
    return c.save_checkpoint(
        root, step, config=CONFIG, env_spec=SPEC, normalizer=NORMALIZER, tensors={"model": model.state_dict(), **more}, meta={"seed": 7}
    )


def new_model():
    return Model(env_spec=SPEC, normalizer=NORMALIZER, width=4)


def same(one, two):
    return all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


def test_a_checkpoint_rebuilds_its_model_to_the_bit(tmp_path):
    model = new_model()
    folder = save(tmp_path, 5000, model)
    assert folder.name == "step_0005000"
    loaded = c.load_model(folder)
    assert same(model, loaded)
    assert loaded.env_spec == SPEC
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    np.testing.assert_array_equal(loaded.normalizer["tcp_pos"].scale, NORMALIZER["tcp_pos"].scale)


def test_averaged_weights_are_preferred_unless_named(tmp_path):
    model, averaged = new_model(), new_model()
    save(tmp_path, 1, model, ema=averaged.state_dict())
    assert same(c.load_model(tmp_path), averaged)
    assert same(c.load_model(tmp_path, weights="model"), model)


def test_nested_models_are_built_from_one_config():
    outer = c.build({**CONFIG, "base": {**CONFIG, "width": 9}}, SPEC, NORMALIZER)
    assert outer.base.layer.out_features == 9
    assert outer.base.normalizer is outer.normalizer


def test_a_run_folder_opens_at_its_best_then_its_last(tmp_path):
    root = tmp_path / "checkpoints"
    save(root, 1, new_model())
    save(root, 2, new_model())
    assert c.open_checkpoint(tmp_path).meta == {"step": 2, "seed": 7}
    c.point_link(root, "best", "step_0000001")
    assert c.open_checkpoint(tmp_path).meta["step"] == 1


def test_a_failed_save_leaves_the_earlier_checkpoint_and_no_draft(tmp_path):
    model = new_model()
    save(tmp_path, 1, model)
    with pytest.raises(AttributeError):
        save(tmp_path, 2, model, broken={"x": "not a tensor"})
    assert sorted(place.name for place in tmp_path.iterdir()) == ["last", "step_0000001"]
    assert same(c.load_model(tmp_path), model)


def test_saving_a_step_again_replaces_it(tmp_path):
    save(tmp_path, 1, new_model())
    model = new_model()
    save(tmp_path, 1, model)
    assert same(c.load_model(tmp_path), model)


def test_nothing_there_says_where_it_looked(tmp_path):
    with pytest.raises(c.CheckpointError, match=r"no checkpoint at .*checkpoints/best"):
        c.open_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"{", b"{}", b"[]", b"\xf6\x00"])
def test_a_damaged_document_is_said_to_be(tmp_path, content):
    folder = save(tmp_path, 1, new_model())
    (folder / "checkpoint.json").write_bytes(content)
    with pytest.raises(c.CheckpointError, match="damaged"):
        c.open_checkpoint(folder)


def test_damaged_and_missing_tensors_are_said_to_be(tmp_path):
    folder = save(tmp_path, 1, new_model())
    with pytest.raises(c.CheckpointError, match=r"holds no 'ema'.*\['model'\]"):
        c.open_checkpoint(folder).tensors("ema")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(c.CheckpointError, match="damaged"):
        c.load_model(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"_target_": f"{__name__}.Modle"}, "did you mean 'Model'"),
        ({"_target_": "os.system"}, "is no class"),
        ({"widht": 4}, "did you mean 'width'"),
        ({"width": -4}, "negative dimension"),
        ({"width": 5}, "tensors do not fit"),
    ],
)
def test_a_config_that_makes_no_model_here_is_said_to_be(tmp_path, change, says):
    folder = save(tmp_path, 1, new_model())
    document = json.loads((folder / "checkpoint.json").read_text())
    document["config"] |= change
    (folder / "checkpoint.json").write_text(json.dumps(document))
    with pytest.raises(c.CheckpointError, match=says):
        c.load_model(folder)


def test_a_newer_format_is_refused(tmp_path):
    folder = save(tmp_path, 1, new_model())
    document = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps({**document, "format": c.FORMAT + 1}))
    with pytest.raises(c.CheckpointError, match="update robolearn"):
        c.open_checkpoint(folder)


def test_a_full_disk_is_an_os_error_and_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    def full(*_):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    save(tmp_path, 1, new_model())
    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        save(tmp_path, 2, new_model())
    assert caught.value.errno == errno.ENOSPC
    assert sorted(place.name for place in tmp_path.iterdir()) == ["last", "step_0000001"]
