"""Whatever a LeRobot data set's files hold, an import succeeds or ends in one line; nothing is written, nothing outside is opened."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", exc_type=ImportError)

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import example, given
from hypothesis import strategies as st

from robolearn.datasets import layout
from robolearn.datasets.formats import lerobot_paths, lerobot_table
from robolearn.datasets.formats.lerobot import LeRobotReader, recognises
from robolearn.errors import UserError
from tests.datasets.formats import lerobot_sets as sets
from tests.datasets.formats.fuzzing import fuzz_settings

SEEDS = st.integers(0, 2**63)
pytestmark = pytest.mark.fuzz


def files_of(root):
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


class Originals(list):
    """Whole data sets as ``{name: bytes}``, which hypothesis shall not print."""

    def __repr__(self):
        return f"{len(self)} data sets"


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Two data sets with video, one with images in its table."""
    folder = tmp_path_factory.mktemp("fuzz")
    found = [files_of(sets.write_set(folder / version, version)) for version in ("v2.1", "v3.0")]
    root = sets.write_set(folder / "images")
    from robolearn.datasets.formats.lerobot_images import encode_images

    cells = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    sets.edit_tables(root, sets.with_column(sets.CAMERA, lambda old: pa.array(encode_images(sets.pictures(0, len(old))), cells)))
    sets.edit_info(root, features={sets.CAMERA: {"dtype": "image", "shape": [sets.HEIGHT, sets.WIDTH, 3], "names": None}}, video_path=None)
    return Originals([*found, files_of(root)])


def survives(files):
    """Read everything that ``files`` hold; True when that worked."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        recognises(root)
        try:
            reader = LeRobotReader(root, missing="skip")
            layout.array_dtypes(reader.env_spec)
            json.dumps([reader.attrs, reader.missing, reader.lost, reader.env_spec.to_dict()])
            for episode in reader:
                json.dumps(dict(episode.provenance))
                layout.step_arrays(episode, reader.env_spec)
        except UserError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 3000
            return False
        finally:
            assert files_of(Path(folder)) == {f"set/{name}": content for name, content in files.items()}
        return True


def test_what_is_whole_survives(originals):
    assert all(survives(files) for files in originals)


def one_of(rng, choices):
    return choices[int(rng.integers(len(choices)))]


def draw(originals, seed):
    """A whole data set and the randomness to damage it, both from one number, which a failure shows."""
    rng = np.random.default_rng(seed)
    return dict(one_of(rng, originals)), rng


@fuzz_settings
@example(seed=189_376_514_393)
@given(seed=SEEDS)
def test_damaged_bytes_are_one_line(originals, seed):
    files, rng = draw(originals, seed)
    name = one_of(rng, sorted(files))
    content = bytearray(files[name])
    for _ in range(rng.integers(1, 5)):
        place = int(rng.integers(max(len(content), 1)))
        kind = one_of(rng, ["flip", "cut", "insert", "swap"])
        if kind == "flip" and content:
            content[place] ^= 1 << int(rng.integers(8))
        elif kind == "cut":
            del content[place : place + one_of(rng, [1, 7, 100, len(content)])]
        elif kind == "insert":
            content[place:place] = rng.bytes(int(rng.integers(1, 12)))
        elif kind == "swap":
            content = bytearray(files[one_of(rng, sorted(files))])
    survives(files | {name: bytes(content)})


ODD = [
    *(None, True, False, 0, -1, 1, 2, 7, 10**6, 2**31, 2**63, 10**30, 0.5, float("nan"), float("inf"), -1e308),
    *("", "x", "..", "../../etc/passwd", "/etc/passwd", "video", "image", "string", "float32", "v2.1", "v3.0", "\0", "é\n"),
    *("{episode_index}", "{x}", "{video_key.__class__}", "{file_index:99999999d}", "a/{chunk_index:03d}/../../../b", "{"),
    *([], [[]], {}, {"a": 1}, [1, 2], [3, 48, 64], [10**9, 10**9, 3], ["left", "right"]),
]


def places_in(value, path=()):
    """Every place in a JSON value."""
    yield path
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places_in(entry, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    entries = dict(value) if isinstance(value, dict) else list(value)
    entries[path[0]] = replaced(value[path[0]], path[1:], new)
    return entries


@fuzz_settings
@given(seed=SEEDS)
def test_odd_values_in_the_meta_data_are_one_line(originals, seed):
    files, rng = draw(originals, seed)
    name = one_of(rng, sorted(name for name in files if name.endswith((".json", ".jsonl"))))
    lines = files[name].decode().splitlines()
    row = int(rng.integers(len(lines)))
    for _ in range(rng.integers(1, 4)):
        content = json.loads(lines[row])
        lines[row] = json.dumps(replaced(content, one_of(rng, list(places_in(content))), one_of(rng, ODD)))
    survives(files | {name: "\n".join(lines).encode()})


def odd_column(rng, rows):
    """A column of the right length and of any type, some with gaps."""
    cells = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    data, places = [None, b"", b"\x89PNG", b"\xff\xd8\xff", b"RIFF1234WEBP"], [None, "", "/etc/passwd", "../x", "meta/info.json", "data"]
    kind, values = one_of(
        rng,
        [
            (pa.int64(), [0, 1, -1, 5, 10**12, 2**62]),
            (pa.uint8(), [0, 1, 2, 255]),
            (pa.float64(), [0.0, 0.1, 1e300, float("nan"), float("inf"), -5.0]),
            (pa.bool_(), [True, False]),
            (pa.string(), ["", "a", "../x"]),
            (pa.list_(pa.float32()), [[], [0.5], [0.5, -0.5], [0.1, 0.2, 0.3]]),
            (pa.list_(pa.list_(pa.int32())), [[], [[]], [[1], [2]], [[1, 2]]]),
            (cells, [{"bytes": one, "path": other} for one in data for other in places]),
            (pa.struct([("a", pa.int8())]), [{"a": 1}]),
            (pa.map_(pa.string(), pa.int8()), [[("a", 1)]]),
            (pa.timestamp("us"), [0]),
            (pa.dictionary(pa.int8(), pa.string()), ["a", "b"]),
            (pa.null(), [None]),
        ],
    )
    values = one_of(rng, [values, values[:1], [*values, None]])
    return pa.array([one_of(rng, values) for _ in range(rows)], kind)


@fuzz_settings
@example(seed=346_209_566)
@given(seed=SEEDS)
def test_odd_columns_are_one_line(originals, seed):
    files, rng = draw(originals, seed)
    name = one_of(rng, sorted(name for name in files if name.endswith(".parquet")))
    content = pq.read_table(pa.BufferReader(files[name]))
    for _ in range(rng.integers(1, 3)):
        place = int(rng.integers(content.num_columns))
        column = content.column_names[place]
        kind = one_of(rng, ["replace", "replace", "drop", "rows", "rename", "twice"])
        if kind == "replace":
            content = content.set_column(place, column, odd_column(rng, len(content)))
        elif kind == "drop":
            content = content.remove_column(place)
        elif kind == "rows" and len(content):
            content = content.take(pa.array(rng.integers(len(content), size=rng.integers(20))))
        elif kind == "rename":
            new = one_of(rng, ["x", "../x", "a/b", "reward", "robolearn/success", "robolearn/provenance"])
            content = content.rename_columns([*content.column_names[:place], new, *content.column_names[place + 1 :]])
        elif kind == "twice":
            content = content.append_column(column, content.column(place))
    sink = pa.BufferOutputStream()
    pq.write_table(content, sink)
    survives(files | {name: sink.getvalue().to_pybytes()})


@fuzz_settings
@given(
    name=st.one_of(
        st.text(max_size=40), st.lists(st.sampled_from(["..", ".", "a", "/", "//", "\\", "~", "\0", " "]), max_size=8).map("".join)
    )
)
def test_no_name_leads_out_of_the_folder(name):
    root = Path("/data/set")
    try:
        found = lerobot_paths.inside(root, name)
    except UserError:
        return
    assert Path(os.path.normpath(found)).is_relative_to(root)


@fuzz_settings
@given(template=st.text(alphabet="{}:0dx_.episode/é", max_size=30))
def test_a_template_gives_a_short_name_or_one_line(template):
    try:
        assert len(lerobot_paths.fill(template, episode_index=3, x=1)) <= 10 * len(template) + 1
    except UserError as error:
        assert "\n" not in str(error)


def test_a_table_that_claims_absurdly_many_rows_is_refused(tmp_path, monkeypatch):
    root = sets.write_set(tmp_path / "set")
    monkeypatch.setattr(lerobot_table, "_MAX_ROWS", 9)
    with pytest.raises(UserError, match="claims 10 rows"):
        LeRobotReader(root)
