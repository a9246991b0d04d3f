"""The documentation's commands: every one is understood, and those marked ``bash run`` run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from robolearn import cli
from robolearn.config import compose

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```bash( run)?\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#]+)\)")


def commands(page):
    """``(words, run)`` of each command line, comments left out and continued lines joined."""
    for run, text in BLOCK.findall(page.read_text()):
        for command in complete_lines(text):
            if words := shlex.split(command, comments=True):
                yield words, bool(run)


def complete_lines(text):
    """Lines, joined while a quotation is open or a line ends in a backslash."""
    command = ""
    for line in text.splitlines():
        command += line
        if command.count("'") % 2 or command.endswith("\\"):
            command = command.removesuffix("\\") + " "
        else:
            yield command
            command = ""


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
        compose(verb, cli.with_parts(verb, options))


@pytest.mark.parametrize("words", cases(run=True))
def test_a_documented_example_runs(words, tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "robolearn", *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr


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
