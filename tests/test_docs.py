"""The documentation's commands: every one is understood, those marked ``bash run`` run, and so do the README's chain and all Python."""

import contextlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from robolearn import cli
from robolearn.config import compose
from robolearn.datasets.store import DemoStore

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```bash( run)?\n(.*?)^```", re.DOTALL | re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
# What makes each command of the README's chain a matter of seconds.
SMALL = {
    "collect": ["episodes=3", "num_envs=4"],
    "train": ["training.steps=3", "evaluation.every=0", "policy.hidden=16", "training.batch_size=8"],
    "finetune": ["env_steps=64", "num_envs=4", "learner.horizon=8", "evaluation.episodes=2", "task.env.max_episode_steps=16"],
    "value": ["rollouts.n=4", "training.steps=3", "critic.hidden=[8]", "task.env.max_episode_steps=16"],
    "evaluate": ["n=4", "videos=0", "task.env.max_episode_steps=16"],
}
LINK = re.compile(r"\]\(([^)#]+)\)")


def commands(page):
    """``(words, run)`` of each command line, comments left out and continued lines joined."""
    for run, text in BLOCK.findall(page.read_text()):
        for command in complete_lines(text):
            if words := shlex.split(command, comments=True):
                yield words, bool(run)


def complete_lines(text):
    """Commands as a shell reads them: lines joined where one ends in a backslash, kept as lines within a quotation."""
    command = ""
    for line in text.splitlines():
        command += line
        if command.endswith("\\"):
            command = command.removesuffix("\\")
        elif is_open(command):
            command += "\n"
        else:
            yield command
            command = ""


def is_open(command):
    """Whether a quotation is still open; one in a comment is none."""
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return True
    return False


def cases(run):
    return [
        pytest.param(words[1:], id=" ".join(words[1:]))
        for words in dict.fromkeys(
            tuple(words) for page in PAGES for words, runs in commands(page) if words[0] == "robolearn" and runs == run
        )
    ]


@pytest.mark.parametrize("words", cases(run=False))
def test_a_documented_command_is_understood(words):
    options = [word for word in words if not word.startswith("-")]
    verb = options.pop(0) if options else None
    if verb in cli.TOOLS:
        verb = f"{verb}_{options.pop(0)}"
    if verb:
        compose(*cli.config_of(verb, options))


@pytest.mark.parametrize("words", cases(run=True))
def test_a_documented_example_runs(words, tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "robolearn", *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """The README's chain by hand, played small: its folder."""
    folder = tmp_path_factory.mktemp("chain")
    text = (ROOT / "README.md").read_text().partition("## The chain by hand")[2]
    with contextlib.chdir(folder):
        for command in complete_lines(BLOCK.search(text)[2]):
            words = shlex.split(command)[1:]
            small = SMALL.get(words[0], [])
            given = [word for word in words if word.partition("=")[0] not in {option.partition("=")[0] for option in small}]
            assert cli.main([*given, *small]) == 0, command
    return folder


@pytest.mark.slow
def test_the_chain_by_hand_ends_in_a_report(chain):
    report = (chain / "outputs" / "comparison" / "report.html").read_text()
    assert all(name in report for name in ("base", "steered", "refined", "both"))


@pytest.mark.parametrize("page", [page for page in PAGES if PYTHON.search(page.read_text())], ids=lambda page: page.name)
def test_python_on_a_page_runs(page, chain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = DemoStore.open(chain / "expert.zarr")
    for block in PYTHON.findall(page.read_text()):
        exec(block, {"env_spec": store.env_spec, "episode": store.episode(0)})


def test_make_targets_that_are_named_exist():
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for words, _ in commands(page):
            if words[0] == "make":
                assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), f"{page.name}: {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_verb_has_a_page_and_a_place_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text()
    for verb in cli.VERBS:
        assert (ROOT / "docs" / f"{verb}.md").is_file()
        assert f"({verb}.md)" in index
