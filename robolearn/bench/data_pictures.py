"""Windows with two cameras beside LeRobot's video, what the same pictures take on disk, and the memory of streaming them."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robolearn.bench.data_state import HORIZON, mean_batch, mean_seconds
from robolearn.bench.figures import Figure, in_turns
from robolearn.bench.peer import LEROBOT_DATA, alongside, skip
from robolearn.bench.pictures import MovingScene
from robolearn.bench.recording import CAMERAS, HEIGHT, STATE, WIDTH, camera_spec
from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.memory import keep_freed_memory
from robolearn.nodes import find_target, instantiate
from robolearn.seeding import split_seeds
from robolearn.spec import EnvSpec

BACKENDS = ("torchcodec", "pyav")  # LeRobot's ways to decode video; the faster one counts
FRAME = HEIGHT * WIDTH * 3  # bytes
Pictures = list[NDArray[np.uint8]]  # of each camera, (T, H, W, 3)


def figures(options: Mapping[str, Any]) -> Iterator[Figure]:
    """Windows a second, kB a picture by codec and format, memory of a streamed epoch."""
    part = options["data"]["pictures"]
    spec, episodes = camera_spec(), _episodes(options)
    with tempfile.TemporaryDirectory() as name:
        folder, stores = Path(name), {}
        for codec in part["codecs"]:
            with find_target(options["store_type"]).create(folder / f"{codec}.zarr", spec, image_codec=codec) as store:
                store.extend(episodes)
            stores[codec] = store
        yield from _sizes(options, stores, folder)
        yield from _windows(options, stores[part["codecs"][0]], folder)
        yield _memory(options["data"], stores[part["codecs"][0]], spec)


def _episodes(options: Mapping[str, Any]) -> list[Episode]:
    """Two episodes of pictures and state."""
    steps = max(2, int(options["data"]["pictures"]["steps"]))
    try:
        pictures = _rendered(options["task"], steps)
    except (ImportError, UserError) as error:
        skip("rendering", f"{error}; a made-up moving scene is recorded instead")
        scenes = [MovingScene(HEIGHT, WIDTH, seed) for seed in range(len(CAMERAS))]
        pictures = [np.stack([scene.picture(step) for step in range(steps)]) for scene in scenes]
    rng, made = np.random.default_rng(0), []
    for rows in np.array_split(np.arange(steps), 2):
        observations: dict[str, Any] = {camera: frames[rows] for camera, frames in zip(CAMERAS, pictures, strict=True)}
        observations |= {
            "state": rng.standard_normal((len(rows), STATE), np.float32),
            "timestamp": np.arange(len(rows)) / camera_spec().control_hz,
        }
        actions = rng.uniform(-1, 1, (len(rows), camera_spec().action.size)).astype(np.float32)
        rewards = np.zeros(len(rows), np.float32)
        made.append(Episode(observations, actions, rewards, terminated=True, truncated=False, success=True))
    return made


def _rendered(task: Mapping[str, Any], steps: int) -> Pictures:
    """The expert at work in two worlds, one a camera."""
    env = instantiate(task["env"], num_envs=len(CAMERAS))
    expert = instantiate(task["expert"], num_envs=len(CAMERAS))
    seeds = np.array(split_seeds("search", len(CAMERAS)))
    observation, _ = env.reset(seed=seeds.tolist())
    expert.reset(np.ones(len(CAMERAS), bool), seeds)
    frames: list[list[NDArray[np.uint8]]] = [[] for _ in CAMERAS]
    try:
        for _ in range(steps):
            for row, film in enumerate(frames):
                film.append(env.render(row))
            observation = env.step(expert.act(observation))[0]
    finally:
        env.close()
    return [np.stack(film) for film in frames]


def _sizes(options: Mapping[str, Any], stores: Mapping[str, Any], folder: Path) -> Iterator[Figure]:
    """The same pictures in our codecs, in robomimic's gzip and in LeRobot's video."""
    export, first = find_target(options["data"]["export"]), next(iter(stores.values()))
    count = first.num_steps * len(CAMERAS)
    for codec, store in stores.items():
        yield Figure(f"data/size_{codec}", sum(_bytes(store.path / "data" / name) for name in CAMERAS) / count / 1e3, "kB/frame", count)
    export(first, folder / "gzip.hdf5", "robomimic", False, compress=True)
    yield Figure("data/size_robomimic_gzip", _bytes(folder / "gzip.hdf5") / count / 1e3, "kB/frame", count)
    for codec in options["data"]["pictures"]["video"]:
        export(first, folder / f"lerobot_{codec}", "lerobot", False, codec=codec)
        yield Figure(f"data/size_lerobot_{codec}", _bytes(folder / f"lerobot_{codec}" / "videos") / count / 1e3, "kB/frame", count)


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def _windows(options: Mapping[str, Any], store: Any, folder: Path) -> Iterator[Figure]:
    """Windows with the present picture of each camera, every one decoded for the batch, one thread each."""
    part, rounds = options["data"]["pictures"], int(options["rounds"])
    rows, count = int(part["batch_size"]), int(part["batches"])
    data = instantiate(options["data"]["windows"], stores=store, prediction_horizon=HORIZON, cache_bytes=2 * FRAME, prefetch=False)
    sampler = instantiate(options["data"]["sampler"], dataset_len=len(data), batch_size=rows, seed=0)

    def floats() -> list[torch.Tensor]:
        batch = data.batch(next(sampler)).torch()
        return [batch.observations[camera].permute(0, 1, 4, 2, 3).float().div_(255) for camera in CAMERAS]

    tasks: list[Callable[[], float]] = [
        lambda: mean_seconds(lambda: data.batch(next(sampler)).torch(), count),
        lambda: mean_seconds(floats, count),
    ]
    keep_freed_memory()  # as `train` does
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    fastest: list[tuple[float, str]] = []
    try:
        mine = [float(np.median(samples)) for samples in in_turns(1, *tasks)]
        for codec in part["video"]:
            settings = {"path": str(folder / f"lerobot_{codec}"), "horizon": HORIZON, "hz": store.env_spec.control_hz, "batch_size": rows}
            with alongside("LeRobot", options["peer_python"], LEROBOT_DATA, settings) as peer:
                working = [] if peer is None else [name for name in BACKENDS if peer.ask(do="batches", count=1, backend=name)["seconds"]]
                asked = [partial(mean_batch, peer, count, backend=name) for name in working if peer is not None]
                seconds = [float(np.median(samples)) for samples in in_turns(rounds, *tasks, *asked)]
                mine = seconds[:2]
                fastest += [(second, f"{peer.name}, {codec}, {name}") for second, name in zip(seconds[2:], working, strict=True) if peer]
    finally:
        torch.set_num_threads(threads)
    beside = (min(fastest)[1], rows / min(fastest)[0]) if fastest else (None, None)
    for name, seconds_a_batch in zip(("picture_windows", "picture_windows_as_floats"), mine, strict=True):
        yield Figure(f"data/{name}", rows / seconds_a_batch, "windows/s/core", rounds * count, *beside)


def _memory(part: Mapping[str, Any], store: Any, spec: EnvSpec) -> Figure:
    """Most memory that a streamed epoch takes over a store four times as large as its cache, beside the bound: cache and one batch."""
    rows = 4
    step = sum(int(np.prod(entry.shape)) * np.dtype(entry.dtype).itemsize for entry in spec.observation.values()) + 4 * spec.action.size
    bound = store.num_steps * step // 4
    options = {"stores": store, "prediction_horizon": HORIZON, "mode": "stream"}
    instantiate(part["windows"], **options).batch([0])  # what is imported and opened once
    tracemalloc.start()
    try:
        data = instantiate(part["windows"], **options, cache_bytes=bound)
        sampler = instantiate(part["sampler"], dataset_len=len(data), batch_size=rows, seed=0)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(len(data) // rows):
            data.batch(next(sampler))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    batch = rows * (step + 4 * (HORIZON - 1) * spec.action.size)
    return Figure(
        "data/stream_epoch_memory", (peak - before) / 1e6, "MB", len(data), "the bound: cache and one batch", (bound + batch) / 1e6
    )
