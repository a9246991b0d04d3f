"""A store to edit, and the tools as a machine calls them."""

import json

from robolearn.cli import main
from robolearn.datasets.store import DemoStore
from tests.datasets.episodes import SPEC, make_episode

COUNT = 8


def make_store(path, numbers, spec=SPEC, **attrs):
    with DemoStore.create(path, spec, attrs=attrs) as store:
        store.extend([make_episode(number, spec=spec) for number in numbers])
    return DemoStore.open(path)


def run(capsys, *words):
    """The facts that a tool prints for machines."""
    assert main(["data", *words, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def fails(capsys, *words):
    """The line that a tool which does nothing says why."""
    assert main(["data", *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error
