"""Episodes are chosen by numbers, ranges and conditions; what is no condition is one clear error."""

import dataclasses

import pytest

from robolearn.cli import main
from robolearn.config import compose
from robolearn.datasets.selection import select
from robolearn.datasets.store import DemoStore, StoreError
from tests.datasets.episodes import SPEC, make_episode

EPISODES = [  # source, success, note, steps
    ("teleop", True, "clean", 5),
    ("teleop", False, "the leg Slipped", 9),
    ("expert", True, None, 20),
    ("rollout", False, "timeout", 30),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("selection") / "demos.zarr"
    with DemoStore.create(path, SPEC) as store:
        for number, (source, success, note, steps) in enumerate(EPISODES):
            known = {"source": source, "seed": 10 * number, "made_by": {"speed": number}, **({"note": note} if note else {})}
            episode = make_episode(number, steps=steps)
            store.append(dataclasses.replace(episode, success=success, terminated=success, truncated=not success, provenance=known))
    return DemoStore.open(path)


@pytest.mark.parametrize(
    ("episodes", "where", "expected"),
    [
        (None, None, [0, 1, 2, 3]),
        ([2, 0], None, [0, 2]),
        (["1-2"], None, [1, 2]),
        (["2-", 0], None, [0, 2, 3]),
        (None, ["success=true"], [0, 2]),
        (None, ["success!=true", "source=teleop"], [1]),
        (None, ["source=teleop|expert"], [0, 1, 2]),
        (None, ["outcome=timeout"], [1, 3]),
        (None, ["steps>=9", "steps<30"], [1, 2]),
        (None, ["seed=20"], [2]),
        (None, ["note~slipped"], [1]),
        (None, ["note!=clean"], [1, 2, 3]),
        (None, ["made_by.speed>1"], [2, 3]),
        (None, ["episode<=1"], [0, 1]),
        (["0-1"], ["success=true"], [0]),
        (None, ["steps>1000"], []),
    ],
)
def test_what_is_chosen(store, episodes, where, expected):
    assert select(store, episodes, where).tolist() == expected


@pytest.mark.parametrize(
    ("episodes", "where", "says"),
    [
        ([9], None, "has no episodes 9; it has 4"),
        (["3-1"], None, "has no episodes 3-1"),
        (["two"], None, "such as episodes=[0,3,7-9,20-]"),
        ([-1], None, "takes numbers and ranges"),
        ([True], None, "takes numbers and ranges"),
        (None, ["success"], "where takes conditions"),
        (None, ["success="], "where takes conditions"),
        (None, ["success=yes"], "success is true or false; got 'yes'"),
        (None, ["sucess=true"], "did you mean 'success'?"),
        (None, ["source=telop"], "did you mean 'teleop'?"),
        (None, ["steps=few"], "steps is a number"),
        (None, ["steps>few"], "compares with a number"),
        (None, ["source>3"], "compares numbers"),
        (None, ["__import__('os')=1"], "where takes conditions"),
    ],
)
def test_a_mistake_says_what_would_have_worked(store, episodes, where, says):
    with pytest.raises(StoreError) as caught:
        select(store, episodes, where)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "written", ["where=[success=true,steps>=9]", "where=['success=true','steps>=9']", "where=[ success=true , steps>=9 ]"]
)
def test_conditions_are_written_plainly_on_the_command_line(written):
    assert list(compose("data_drop", ["store=a", "out=b", written]).where) == ["success=true", "steps>=9"]


def test_ranges_are_for_tools_that_take_them(capsys):
    assert list(compose("data_drop", ["store=a", "out=b", "episodes=[0,7-9]"]).episodes) == [0, "7-9"]
    assert main(["data", "drop", "store=a", "out=b", "episodes=3"]) == 1
    assert "such as episodes=[3]" in capsys.readouterr().err
