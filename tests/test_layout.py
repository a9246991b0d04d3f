"""The house's plan: who may import whom, and how the four folders hang together."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("sim", "datasets", "policies", "deploy")
LONGEST_FILE = 400  # lines; house rule: about 300


def python_files(folder):
    return sorted(file for file in (ROOT / folder).rglob("*.py") if "__pycache__" not in file.parts)


def hub_files():
    links = {ROOT / "robolearn" / room for room in ROOMS}
    return [file for file in python_files("robolearn") if not links & set(file.parents)]


def imported_modules(source):
    """Absolute dotted names of everything that a source file imports, at any depth."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which room they reach"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_of(source):
    return {name.split(".")[1] for name in imported_modules(source) if name.startswith("robolearn.") and name.split(".")[1] in ROOMS}


@pytest.mark.parametrize("file", hub_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_hub_imports_no_room(file):
    assert not rooms_of(file.read_text())


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_no_other_room(room):
    for file in python_files(room):
        assert rooms_of(file.read_text()) <= {room}, file


@pytest.mark.parametrize("source", ["from robolearn.sim import engine", "import robolearn.policies.unet", "from robolearn import deploy"])
def test_the_import_rule_sees_every_way_to_write_an_import(source):
    assert rooms_of(f"def late():\n    {source}\n")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_a_folder_without_init_linked_into_the_hub(room):
    assert not (ROOT / room / "__init__.py").exists()
    link = ROOT / "robolearn" / room
    assert link.is_symlink()
    assert str(link.readlink()) == f"../{room}"


@pytest.mark.parametrize("folder", ["robolearn", *ROOMS])
def test_every_module_opens_with_a_sentence_and_fits_in_a_sitting(folder):
    files = hub_files() if folder == "robolearn" else python_files(folder)
    for file in files:
        text = file.read_text()
        assert ast.get_docstring(ast.parse(text)), f"{file} says nothing about itself"
        assert len(text.splitlines()) <= LONGEST_FILE, f"{file} is too long"
