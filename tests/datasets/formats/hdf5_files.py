"""Small HDF5 files as robomimic, MimicGen and robosuite write them, each determined by its arguments."""

from __future__ import annotations

import json

import h5py
import numpy as np

MODEL = "<mujoco model='base'>" + "<body name='cube'/>" * 300 + "</mujoco>"
ENV_ARGS = {
    "env_name": "Square",
    "type": 1,
    "env_version": "1.5.1",
    "env_kwargs": {"control_freq": 20, "reward_shaping": False, "controller_configs": {"type": "BASIC", "body_parts": {}}},
}
ENV_INFO = {"env_name": "Lift", "robots": "Panda", "controller_configs": {"type": "OSC_POSE"}, "control_freq": 25}


def demo_arrays(rng, steps, *, image=False):
    """Arrays of one demonstration as robomimic 1.5 has them: float64 numbers, next_obs, dones at the end, a sparse reward."""
    obs = {"eef_pos": rng.standard_normal((steps + 1, 3)), "gripper_qpos": rng.standard_normal((steps + 1, 2)).astype(np.float32)}
    if image:
        obs["agentview_image"] = rng.integers(0, 256, (steps + 1, 6, 8, 3)).astype(np.uint8)
        obs["agentview_depth"] = rng.random((steps + 1, 6, 8, 1)).astype(np.float32)
    return {
        "actions": rng.uniform(-1, 1, (steps, 7)),
        "states": rng.standard_normal((steps, 13)),
        "rewards": np.eye(1, steps, steps - 1)[0],
        "dones": np.eye(1, steps, steps - 1, dtype=np.int64)[0],
        **{f"obs/{key}": values[:-1] for key, values in obs.items()},
        **{f"next_obs/{key}": values[1:] for key, values in obs.items()},
    }


def mimicgen_arrays(rng, steps):
    """What MimicGen adds: poses and signals for generation, and which demonstrations a new one was made from."""
    return {
        "datagen_info/eef_pose": rng.standard_normal((steps, 4, 4)),
        "datagen_info/object_poses/nut": rng.standard_normal((steps, 4, 4)),
        "datagen_info/subtask_term_signals/grasp": (np.arange(steps) > steps // 2).astype(np.int64),
        "datagen_info/gripper_action": rng.uniform(-1, 1, (steps, 1)),
        "src_demo_inds": np.array([4, 1]),
        "src_demo_labels": np.repeat([4, 1], [steps // 2, steps - steps // 2])[:, None],
    }


def write_file(path, demos, *, data_attrs=None, masks=None, demo_attrs=None, compression=None):
    """``demos``: ``{name: {path: array}}``; ``demo_attrs``: attributes of every demonstration; None leaves one out."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        for name, arrays in demos.items():
            group = data.create_group(name)
            for key, values in arrays.items():
                group.create_dataset(key, data=values, compression=compression if np.ndim(values) > 1 else None)
            attrs = {"num_samples": len(arrays["actions"])} if "actions" in arrays else {}
            for key, value in {**attrs, **(demo_attrs or {})}.items():
                if value is not None:
                    group.attrs[key] = value
        for key, value in (data_attrs or {}).items():
            if value is not None:
                data.attrs[key] = value
        for key, names in (masks or {}).items():
            file[f"mask/{key}"] = np.array(names, "S")
    return path


def robomimic_file(path, *, lengths=None, image=False, mimicgen=False, attrs=None, edit=None, **options):
    """A file of robomimic 1.5: demonstrations 1, 2 and 10 with gaps between; ``edit(demos)`` changes the arrays first."""
    rng = np.random.default_rng(5)
    demos = {}
    for name, steps in (lengths or {"demo_1": 5, "demo_10": 4, "demo_2": 7}).items():
        demos[name] = demo_arrays(rng, steps, image=image) | (mimicgen_arrays(rng, steps) if mimicgen else {})
    if edit:
        edit(demos)
    total = sum(len(arrays.get("actions", ())) for arrays in demos.values())
    options.setdefault("masks", {"train": ["demo_1", "demo_10"], "valid": ["demo_2"]})
    options.setdefault("demo_attrs", {"model_file": MODEL, "ep_meta": json.dumps({"layout": 3})})
    data_attrs = {"total": total, "env_args": json.dumps(ENV_ARGS, indent=4), **(attrs or {})}
    return write_file(path, demos, data_attrs=data_attrs, **options)


def robosuite_file(path, *, model=MODEL, steps=(6, 4), edit=None, attrs=None):
    """A raw recording: ``model`` is each demonstration's model text, or the name of a file in ``models/`` beside."""
    rng = np.random.default_rng(6)
    demos = {
        f"demo_{number}": {"actions": rng.uniform(-1, 1, (length, 7)), "states": rng.standard_normal((length, 19))}
        for number, length in enumerate(steps, 1)
    }
    if edit:
        edit(demos)
    known = {"date": "9-4-2020", "time": "13:47:11", "repository_version": "1.0.0", "env": "Lift", "env_info": json.dumps(ENV_INFO)}
    return write_file(path, demos, data_attrs={**known, **(attrs or {})}, demo_attrs={"model_file": model, "num_samples": None})


def everything(path):
    """All that a file holds: ``{path: array}`` and ``{path: attributes}``."""
    arrays, attributes = {}, {}
    with h5py.File(path) as file:

        def visit(name, found):
            if isinstance(found, h5py.Dataset):
                arrays[name] = found[()]
            if len(found.attrs):
                attributes[name] = dict(found.attrs)

        file.visititems(visit)
    return arrays, attributes
