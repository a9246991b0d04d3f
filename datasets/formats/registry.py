"""The formats that can be imported and exported, and which one a file is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from robolearn.datasets.address import address
from robolearn.datasets.formats import (
    diffusion_policy,
    diffusion_policy_export,
    dppo,
    lerobot,
    lerobot_export,
    recorded_npz,
    resip,
    rlds,
    robomimic,
    robomimic_write,
    robosuite,
)
from robolearn.datasets.formats.archive import looks_like_zip, open_files
from robolearn.datasets.layout import StoreError
from robolearn.episode import Episode
from robolearn.errors import nearest
from robolearn.spec import EnvSpec


class Reader(Protocol):
    """An opened data set: its spec, and its episodes in order.

    A reader may have three more attributes, complete once the episodes are read: ``attrs: dict``, JSON-ready notes for the
    store's attributes; ``missing: list[str]``, what the source promises and lacks, and was skipped (``missing=skip``);
    ``lost: list[str]``, what the source has and a store cannot hold. The last two are printed and kept in the attributes.
    """

    env_spec: EnvSpec

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Episode]: ...


@dataclass(frozen=True)
class Format:
    """One format.

    Args:
        title: what it is.
        recognises: whether a path holds it; looks at little, raises nothing.
        open: its reader's constructor ``(path, **options)``.
        options: those of ``data import`` that the reader takes.
        write: ``(store, out, **options)`` writes a store to a path that does not exist yet, of the suffix that was asked for
            (the caller renames it into place), and returns a line for each thing that the format cannot hold.
        write_options: those of ``data export`` that the writer takes.
    """

    title: str
    recognises: Callable[[Path], bool]
    open: Callable[..., Reader]
    options: tuple[str, ...] = ()
    write: Callable[..., list[str]] | None = None
    write_options: tuple[str, ...] = ()


FORMATS = {
    "resip": Format(
        "JUICER / ResiP zarr (FurnitureSim teleoperation)",
        resip.recognises,
        resip.ResipReader,
        ("repair_rotation", "repair_method", "response", "max_relabel"),
    ),
    "robomimic": Format(
        "robomimic HDF5, with MimicGen's additions",
        robomimic.recognises,
        robomimic.RobomimicReader,
        ("filter_key", "missing"),
        robomimic_write.write,
        ("next_obs", "compress", "valid_share"),
    ),
    "robosuite": Format(
        "raw robosuite demo.hdf5, with its models/",
        robosuite.recognises,
        robosuite.RobosuiteReader,
        ("filter_key", "missing"),
    ),
    "diffusion_policy": Format(
        "diffusion_policy zarr (Push-T, robomimic cache, real robot, UMI)",
        diffusion_policy.recognises,
        diffusion_policy.DiffusionPolicyReader,
        ("task", "control_hz", "images", "derive_action"),
        diffusion_policy_export.write,
        ("image_codec",),
    ),
    "rlds": Format("RLDS (TFDS directory, Open X-Embodiment)", rlds.recognises, rlds.RldsReader, ("task", "control_hz", "missing")),
    "recorded": Format("episodes that a robot's computer recorded without zarr", recorded_npz.recognises, recorded_npz.RecordedNpzReader),
    "dppo": Format("DPPO npz", dppo.recognises, dppo.DppoReader, ("task", "control_hz")),
    "lerobot": Format(
        "LeRobot v2.0, v2.1, v3.0 (folder with meta/info.json)",
        lerobot.recognises,
        lerobot.LeRobotReader,
        ("missing", "leave_out"),
        write=lerobot_export.write,
        write_options=("video", "codec", "crf", "data_files_size_in_mb", "video_files_size_in_mb"),
    ),
}


def open_source(source: str | Path, format: str = "auto", **options: Any) -> tuple[str, Reader]:
    """Open a data set of another format; of ``options``, the reader gets those it takes. Returns the format's name too.

    Raises:
        StoreError: nothing there, no known format, or the data are damaged or incomplete.
    """
    path = address(source)
    if not isinstance(path, Path):
        raise StoreError(
            f"{path}: other formats are read from here; fetch it first, or `robolearn data copy store={path}` where it is a store"
        )
    if not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise StoreError(f"there is no file or directory {path}{nearest(path.name, siblings)}")
    if format != "auto" and format not in FORMATS:
        raise StoreError(f"no format {format!r}; there are auto, {', '.join(FORMATS)}{nearest(format, FORMATS)}")
    name = recognise(path) if format == "auto" else format
    chosen = FORMATS[name]
    return name, chosen.open(path, **{key: value for key, value in options.items() if key in chosen.options})


def writer_of(format: str) -> Format:
    """The format of a name that can be exported.

    Raises:
        StoreError: no such format, or it can only be imported.
    """
    writable = [name for name, entry in FORMATS.items() if entry.write is not None]
    if format not in writable:
        what = f"format {format!r} can be imported but not exported" if format in FORMATS else f"no format {format!r}"
        raise StoreError(f"{what}; a store can be exported to {', '.join(writable) or 'none yet'}{nearest(format, writable)}")
    return FORMATS[format]


def recognise(path: Path) -> str:
    """Name of the format a path is in.

    Raises:
        StoreError: none of those known, pickles, or an archive that is damaged or not safe to read.
    """
    if (path / "zarr.json").is_file():
        raise StoreError(f"{path} is zarr format 3, perhaps a robolearn store already: `robolearn data info store={path}`")
    _refuse_pickle(path)
    if looks_like_zip(path):
        open_files(path)  # a zip that is damaged, or not safe to read, says so in its own words
    for name, candidate in FORMATS.items():
        if candidate.recognises(path):
            return name
    known = "; ".join(f"{name}: {entry.title}" for name, entry in FORMATS.items())
    raise StoreError(f"{path} is in no format that can be imported ({known}); say format=NAME to see what is missing")


def _refuse_pickle(path: Path) -> None:
    """Raise ``StoreError`` for a file of Python pickles (SERL and others save episodes so), which is never loaded."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(2)
    if path.suffix in (".pkl", ".pickle") or (start[:1] == b"\x80" and start[1:] in (b"\x02", b"\x03", b"\x04", b"\x05")):
        raise StoreError(
            f"{path} holds Python pickles, which can run any code when read; where you trust the file, save its episodes again in its own "
            "environment, as robomimic HDF5, LeRobot or diffusion_policy zarr, and import that"
        )
