"""A robot's computer may have Python 3.10: what it imports has neither newer syntax nor newer names."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OLDEST = (3, 10)
# Names that came later, by the module that they are of; "" for those without.
NEWER = {
    "typing": "Self assert_never assert_type Never LiteralString Required NotRequired Unpack TypeVarTuple dataclass_transform override"
    " reveal_type get_overloads TypeAliasType ReadOnly TypeIs NoDefault",
    "enum": "StrEnum verify member nonmember global_enum ReprEnum FlagBoundary EnumCheck EnumType",
    "datetime": "UTC",
    "asyncio": "TaskGroup timeout timeout_at Runner Barrier eager_task_factory",
    "contextlib": "chdir",
    "hashlib": "file_digest",
    "itertools": "batched",
    "math": "cbrt exp2 sumprod fma",
    "operator": "call",
    "os": "process_cpu_count",
    "copy": "replace",
    "warnings": "deprecated",
    "threading": "settrace_all_threads setprofile_all_threads",
    "sys": "exception monitoring",
    "tomllib": "*",
    "wsgiref.types": "*",
    "": "ExceptionGroup BaseExceptionGroup PythonFinalizationError",
}
NEWER_ATTRIBUTES = {"add_note"}  # of whatever object


def file_of(module):
    """The source of a module of ours, or None."""
    path = ROOT.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def own_imports(tree):
    """Dotted names of robolearn's that a source imports, at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("robolearn"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("robolearn"):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def robot_files():
    """All of deploy/, the command line, and whatever of the hub these import."""
    waiting = [*(ROOT / "robolearn" / "deploy").rglob("*.py"), file_of("robolearn.cli"), file_of("robolearn.nodes")]
    found = set()
    while waiting:
        file = waiting.pop()
        if file is not None and file not in found:
            found.add(file)
            waiting += [file_of(name) for name in own_imports(ast.parse(file.read_text()))]
    return sorted(found)


def newer_names(source):
    """What of a source Python 3.10 does not have; SyntaxError where it cannot even read it."""
    tree = ast.parse(source, feature_version=OLDEST)
    modules = {}  # name here: module
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                modules[alias.asname or alias.name] = alias.name
                if NEWER.get(alias.name) == "*":
                    yield alias.name
        elif isinstance(node, ast.ImportFrom):
            newer = NEWER.get(node.module or "", "").split()
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name in newer or newer == ["*"])
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            of = modules.get(ast.unparse(node.value), "no module")
            if node.attr in NEWER_ATTRIBUTES or node.attr in NEWER.get(of, "").split():
                yield ast.unparse(node)
        elif isinstance(node, ast.Name) and node.id in NEWER[""].split():
            yield node.id


@pytest.mark.parametrize("file", robot_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_what_a_robots_computer_imports_is_written_for_python_3_10(file):
    assert not list(newer_names(file.read_text()))


@pytest.mark.parametrize(
    "source",
    [
        "from typing import Any, Self",
        "import datetime as dt\nnow = dt.UTC",
        "import tomllib",
        "from enum import StrEnum",
        "raise ExceptionGroup('', [])",
        "error.add_note('')",
        "import typing\nx: typing.Self",
    ],
)
def test_a_newer_name_is_found(source):
    assert list(newer_names(source))


@pytest.mark.parametrize(
    "source", ["try:\n    f()\nexcept* ValueError:\n    pass", "type Pair = tuple[int, int]", "def first[T](x: T) -> T: ..."]
)
def test_newer_syntax_is_refused(source):
    with pytest.raises(SyntaxError):
        list(newer_names(source))


def test_names_that_merely_look_alike_are_fine():
    assert not list(newer_names("from zoo import Self\nself.timeout = 1\nimport math\nmath.sqrt(2)\ncopy = str.replace('a', 'b', 'c')"))
