"""Images have one path into a policy: random crops in training, the middle in acting; what they show can be learned, saved and played."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robolearn.batch import WindowBatch
from robolearn.checkpoint import load_model, open_checkpoint
from robolearn.config import compose
from robolearn.datasets.store import DemoStore
from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning import behavior_cloning
from robolearn.learning.behavior_cloning import build_trainer, training_settings
from robolearn.learning.parallel import Shard, Workers
from robolearn.learning.trainer import Trainer
from robolearn.nodes import to_dict
from robolearn.normalize import ACTION
from robolearn.policies.chunking import ChunkedPolicy
from robolearn.policies.encoders import ImageEncoder
from robolearn.policies.mlp import MlpPolicy
from robolearn.policies.networks.resnet import ResNet, SpatialSoftmax
from robolearn.spec import ArraySpec, EnvSpec, tool_pose_action
from tests.fakes import IDENTITY_ROT6D, point_reach_normalizer

SIZE = 24  # pixels
SPEC = EnvSpec(
    task="seek",
    observation={"tcp_pos": ArraySpec((3,), units="m"), "front": ArraySpec((SIZE, SIZE, 3), "uint8")},
    action=tool_pose_action((-0.5,) * 3, (0.5,) * 3),
    control_hz=10.0,
)
TINY: dict[str, Any] = {"width": 8, "blocks": (1,), "pooling": "spatial_softmax", "keypoints": 4, "features": 16}


def encoder_of(spec: EnvSpec = SPEC, **options: Any) -> ImageEncoder:
    torch.manual_seed(0)
    return ImageEncoder(env_spec=spec, normalizer=point_reach_normalizer(), **{**TINY, "crop": None, **options})


def images_of(rows: int, horizon: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (rows, horizon, SIZE, SIZE, 3), np.uint8))


def seek(rows: int, seed: int = 0) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32]]:
    """Pictures of a red square on noise, and the action that says where it is: ``(B, ...), (B, 10)``."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (rows, SIZE, SIZE, 3), np.uint8)
    corners = rng.integers(0, SIZE - 5, (rows, 2))
    for image, (top, left) in zip(images, corners, strict=True):
        image[top : top + 6, left : left + 6, 0] = 250
    where = (corners / (SIZE - 6) - 0.5).astype(np.float32) * 0.9
    actions = np.tile(np.float32([0, 0, 0, *IDENTITY_ROT6D, 1]), (rows, 1))
    actions[:, :2] = where
    return {"tcp_pos": np.zeros((rows, 3), np.float32), "front": images}, actions


def test_the_default_network_is_the_size_of_resnet_18() -> None:
    assert sum(weight.numel() for weight in ResNet(3).parameters()) == pytest.approx(11.2e6, rel=0.01)
    assert ResNet(3, 16, (1, 1))(torch.zeros(2, 3, 32, 32)).shape == (2, 32, 4, 4)


def test_spatial_softmax_says_where_a_feature_is() -> None:
    pool = SpatialSoftmax(1, 1)
    torch.nn.init.constant_(pool.score.weight, 1.0)
    torch.nn.init.zeros_(pool.score.bias)
    maps = torch.zeros(1, 1, 5, 9)
    maps[0, 0, 4, 2] = 100.0  # the last row, a quarter of the way along the columns
    torch.testing.assert_close(pool(maps), torch.tensor([[-0.5, 1.0]]))


def test_crops_are_anywhere_in_training_and_in_the_middle_in_acting() -> None:
    encoder, images = encoder_of(crop=(16, 20)), images_of(64, horizon=2)
    middle = images[:, :, 4:20, 2:22].movedim(-1, 2).float() / 127.5 - 1
    assert torch.equal(encoder.pixels("front", images), middle)  # no generator: no draws
    drawn = encoder.pixels("front", images, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, encoder.pixels("front", images, torch.Generator().manual_seed(0)))
    found = set()
    for row, crop in zip(images.movedim(-1, 2).float() / 127.5 - 1, drawn, strict=True):
        places = [(top, left) for top in range(9) for left in range(5) if torch.equal(row[..., top : top + 16, left : left + 20], crop)]
        assert len(places) == 1  # both images of the window, at one place
        found.add(places[0])
    assert {top for top, _ in found} == set(range(9))
    assert {left for _, left in found} == set(range(5))
    assert torch.equal(encoder.eval().pixels("front", images, torch.Generator().manual_seed(0)), middle)


def test_shards_of_a_batch_are_cropped_as_the_batch_is() -> None:
    encoder, images = encoder_of(crop=(16, 16)), images_of(12)
    whole = encoder.pixels("front", images, torch.Generator().manual_seed(1))
    part = encoder.pixels("front", images[6:], torch.Generator().manual_seed(1), Shard(6, 6, 12))
    assert torch.equal(part, whole[6:])


def test_images_are_resized_and_some_cameras_not_cropped() -> None:
    wrist = "observation.images.wrist"
    spec = replace(SPEC, observation={**SPEC.observation, wrist: ArraySpec((30, 40, 3), "uint8")})
    encoder = encoder_of(spec, crop=(16, 16), whole=[wrist])
    flat = torch.full((3, 1, 30, 40, 3), 255, dtype=torch.uint8)
    torch.testing.assert_close(encoder.pixels(wrist, flat, torch.Generator()), torch.ones(3, 1, 3, 16, 16))
    assert encoder({"front": images_of(3), wrist: flat}).shape == (3, 1, 32)
    assert encoder_of(resize=(12, 14)).pixels("front", images_of(2)).shape == (2, 1, 3, 12, 14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keys": ["frnt"]}, "shows no image 'frnt'; it shows front; did you mean 'front'"),
        ({"keys": []}, "without images"),
        ({"crop": (32, 16)}, "does not fit into 'front'"),
        ({"crop": (16,)}, r"crop is \[height, width\]"),
        ({"pooling": "max"}, "there are average, spatial_softmax"),
    ],
)
def test_a_mistake_names_what_would_have_worked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        encoder_of(**options)


def test_images_come_as_bytes() -> None:
    with pytest.raises(UserError, match="images are uint8"):
        encoder_of()({"front": images_of(2).float()})


def policy_of(encoder: ImageEncoder | None, keys: tuple[str, ...] = ("tcp_pos", "front"), **options: Any) -> MlpPolicy:
    words = {"prediction_horizon": 1, "action_horizon": 1, "sizes": (64, 64), "dropout": 0.0, "precision": "float32", **options}
    return MlpPolicy(env_spec=SPEC, normalizer=point_reach_normalizer(), observation_keys=keys, encoder=encoder, **words)


def test_an_image_without_an_encoder_names_the_policy_that_sees() -> None:
    with pytest.raises(UserError, match="'front' is an image, which policy=diffusion_image sees"):
        policy_of(None)
    with pytest.raises(UserError, match="the encoder sees front; the images among observation_keys are none"):
        policy_of(encoder_of(), keys=("tcp_pos",))


def test_a_policy_learns_where_things_are_from_pixels_alone() -> None:
    policy = policy_of(encoder_of(), keys=("front",))
    optimizer = torch.optim.Adam(policy.parameters(), lr=4e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(120):
        seen, actions = seek(64, seed=step)
        batch = WindowBatch({name: values[:, None] for name, values in seen.items()}, actions[:, None], np.zeros((64, 1), bool)).torch()
        optimizer.zero_grad()
        loss, _ = policy.train().loss(batch, generator)
        loss.backward()
        optimizer.step()
    seen, actions = seek(200, seed=10_000)
    chunked = ChunkedPolicy(policy.eval(), 1, 200)
    chunked.reset(np.ones(200, bool), np.arange(200))
    error = np.abs(chunked.act(seen) - actions)[:, :2].max(1)
    assert np.median(error) < 0.05  # [m] of a range of 0.9; blind it would be 0.3
    direct = policy.sample({name: values[:, None] for name, values in seen.items()}, np.arange(200), np.zeros(200, np.int64))
    chunked.reset(np.ones(200, bool), np.arange(200))
    assert np.array_equal(chunked.act(seen), direct[:, 0, 0])


def test_noise_is_for_states_and_crops_for_images() -> None:
    policy, generator = policy_of(encoder_of(crop=(16, 16)), observation_noise=0.5).train(), torch.Generator().manual_seed(0)
    seen, actions = seek(8)
    batch = WindowBatch({name: values[:, None] for name, values in seen.items()}, actions[:, None], np.zeros((8, 1), bool)).torch()
    plain, noisy = policy.encode(batch.observations), policy.noisy_condition(batch, generator)
    assert plain.shape == noisy.shape == (8, 3 + 16)
    assert ((plain - noisy)[:, :3].abs() > 0).all()
    state = torch.Generator().manual_seed(0)
    torch.randn((8, 3), generator=state)  # what the noise drew
    torch.testing.assert_close(noisy[:, 3:], policy.encoder({"front": batch.observations["front"]}, state).flatten(1))
    assert torch.equal(policy.eval().noisy_condition(batch, generator), policy.encode(batch.observations))


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "seek.zarr"
    with DemoStore.create(path, SPEC) as store:
        seen, actions = zip(*(seek(12, seed) for seed in range(3)), strict=True)
        rewards = np.zeros(12, np.float32)
        store.extend([Episode(mine, acted, rewards, True, False, True) for mine, acted in zip(seen, actions, strict=True)])
    return path


def words(store: Path, out: Path, *more: str) -> list[str]:
    encoder = [f"policy.encoder.{word}" for word in ("width=8", "blocks=[1]", "pooling=spatial_softmax", "crop=[20,20]", "features=8")]
    sizes = ["policy.network=mlp", "policy.hidden=16", "policy.prediction_horizon=8", "policy.precision=float32", "threads=1"]
    run = ["training.batch_size=8", "training.log_every=1", "evaluation.every=0", "tensorboard=false"]
    keys = "policy.observation_keys=[tcp_pos,front]"
    return [f"store={store}", f"out={out}", "policy=diffusion_image", keys, *encoder, *sizes, *run, "augmentation.images.share=0.5", *more]


def test_a_store_with_images_trains_a_policy_that_loads_from_its_folder_alone(demonstrations: Path, tmp_path: Path) -> None:
    assert behavior_cloning.main(compose("train", words(demonstrations, tmp_path / "run", "training.steps=3"))) == 0
    policy = load_model(tmp_path / "run")
    assert policy.encoder.keys == ("front",)
    assert set(policy.normalizer.parts) == {"tcp_pos", ACTION}
    seen = {name: values[:, None] for name, values in seek(3)[0].items()}
    numbers = (np.arange(3), np.zeros(3, np.int64), 2)
    chunk = policy.sample(seen, *numbers)
    assert chunk.shape == (3, 2, 8, 10)
    assert np.array_equal(chunk, load_model(tmp_path / "run").sample(seen, *numbers))
    assert not np.allclose(chunk, policy.sample({**seen, "front": 255 - seen["front"]}, *numbers))  # it does look


def test_half_and_a_resumed_half_equal_the_whole_to_the_bit(demonstrations: Path, tmp_path: Path) -> None:
    def trainer() -> Trainer:
        torch.manual_seed(0)
        document = to_dict(compose("train", words(demonstrations, tmp_path, "training.steps=4")))
        return build_trainer(document, training_settings(document["training"]), Workers())[0]

    whole, half, rest = trainer(), trainer(), trainer()
    losses = [whole.step()["loss"] for _ in range(4)]
    for _ in range(2):
        half.step()
    half.save(tmp_path)
    rest.load(open_checkpoint(tmp_path))
    assert [rest.step()["loss"] for _ in range(2)] == losses[2:]
    for name, value in rest.ema.model.state_dict().items():
        assert torch.equal(value, whole.ema.model.state_dict()[name]), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["policy=diffusion_mlp"], "'front' is an image, which policy=diffusion_image sees"),
        (["policy.observation_keys=[tcp_pos]", "augmentation.images.share=0"], "without images: name them"),
        (["policy.observation_keys=[tcp_pos]"], "nothing to augment: the policy reads no images"),
        (["policy.encoder.crop=[64,64]"], r"a crop of \(64, 64\) does not fit into 'front', \(24, 24\)"),
    ],
)
def test_a_mistake_on_the_command_line_is_answered_in_a_line(change: list[str], message: str, demonstrations: Path, tmp_path: Path) -> None:
    given = [word for word in words(demonstrations, tmp_path / "run") if not (change[0].startswith("policy=") and "policy" in word)]
    keys = ["policy.observation_keys=[front]"] if change[0].startswith("policy=") else []
    with pytest.raises(UserError, match=message):
        behavior_cloning.main(compose("train", [*given, *keys, *change]))
    assert not (tmp_path / "run").exists()
