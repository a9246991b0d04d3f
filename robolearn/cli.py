"""The command line: ``robolearn <verb> [key=value ...]``.

A verb is one file ``conf/<verb>.yaml``: its comments are the verb's help, its ``_target_`` the function that gets the config.
Nothing heavy is imported before a verb runs, so that help is instant.
"""

from __future__ import annotations

import errno
import itertools
import os
import sys
from pathlib import Path

from robolearn import __version__
from robolearn.errors import UserError, nearest
from robolearn.learning.interrupt import Stop, Terminated

CONF = Path(__file__).parent / "conf"
VERBS = {
    "doctor": "check the installation, and say how to mend what is missing",
    "demo": "the whole chain on one task in minutes, ending in report.html",
    "collect": "demonstrations from a task's scripted expert, or rollouts of a policy, into a store",
    "data": "look into, show, check, import, export, edit, render and replay demonstration stores",
    "augment": "make much of few demonstrations: backward from bottleneck states, collect-and-infer (JUICER)",
    "train": "imitate: a policy from demonstrations",
    "finetune": "refine: a residual policy by reinforcement learning on a frozen base (ResiP)",
    "value": "judge: a critic from demonstrations and rollouts, to steer a policy (V-GPS)",
    "evaluate": "compare policies on the same initial states and noise, with intervals and tests",
    "run": "a policy on a robot, over the robot's own drivers",
    "sim-robot": "a simulated robot behind the topics, services and actions of real drivers",
    "serve": "a policy behind a websocket, for a robot computer without torch",
    "results": "the figures of a finished recipe as one JSON file, to keep",
    "report": "a self-contained report.html of finished runs",
    "sheet": "a picture of every simulated task at every level of randomness, to look at",
    "bench": "measure speed, beside a peer where it is installed",
}
TOOLS = {
    "data": {
        "info": "what a store holds",
        "check": "every promise of the format, chunk by chunk; exit 1 when one is broken",
        "stats": "figures of every array and of the outcomes, read in blocks",
        "import": "another format's demonstrations into a store",
        "export": "a store in another project's format, with a line for what that cannot hold",
        "merge": "several stores as one new store",
        "drop": "a new store without some episodes",
        "split": "a store's episodes as two new stores, such as training and test",
        "trim": "a new store with heads or tails of episodes cut off",
        "label": "a new store with other outcomes or notes",
        "copy": "a store as it is to another place: a directory, a zip, a bucket",
        "history": "commits, branches and tags of a store on Icechunk",
        "tag": "a name, for good, for a snapshot of a store on Icechunk",
        "branch": "a branch of a store on Icechunk, to append to",
        "repair": "remove, in place, what an interrupted writer left",
        "upgrade": "a store of an older version as a new one that opens",
        "view": "a page in the browser: pictures, plots and marks on episodes; saved as a new store",
        "render": "films of episodes, or a new store with pictures drawn from simulator states",
        "annotate": "a new store with bottleneck states marked, by hand or by stages, contacts or the gripper",
        "replay": "play stored actions open-loop in simulation and report the stages reached",
    },
    "augment": {
        "backward": "snippets that lead back to bottleneck states, verified in simulation, into a new store",
        "infer": "collect-and-infer: train, roll out, keep the successes, train on all, several times over",
    },
}
PARTS = {
    "bench": ("sim", "train", "infer", "data", "run", "faults")
}  # verbs of which some parts may be asked for: `robolearn bench sim train`
ONE_THREAD = ("run", "sim-robot")  # verbs of a loop that must be punctual
HELP = ("-h", "--help", "help")
FLAGS = {"--json": ("json", "prints no JSON"), "--dry-run": ("dry_run", "has no dry run")}  # the option each sets, or why there is none
EXAMPLES = """examples:
  robolearn doctor
  robolearn collect task=one_leg episodes=50 store=expert.zarr
  robolearn train store=expert.zarr out=outputs/base
  robolearn data info store=expert.zarr --json
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 not understood, 130 interrupted, 143 terminated."""
    words = list(sys.argv[1:] if argv is None else argv)
    traceback = "--traceback" in words
    try:
        with Stop():
            return _dispatch([word for word in words if word != "--traceback"])
    except UserError as error:
        if traceback:
            raise
        return _fail(str(error), error)
    except Terminated as error:
        return _fail("terminated", error, 143, "")
    except KeyboardInterrupt as error:
        return _fail("interrupted", error, 130, "")
    except ModuleNotFoundError as error:
        if traceback or (error.name or "").partition(".")[0] == "robolearn":
            raise
        return _fail(f"this needs the package {error.name!r}, which is not installed; see `robolearn doctor`", error)
    except BrokenPipeError:  # the reader of our output left, as in `robolearn ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a place that cannot be read or written: the machine's state, which the user can mend
        if traceback:
            raise
        place = f" for {error.filename}" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _fail(f"no space left on the disk{place}; free some, then go on", error)
        return _fail(f"{(error.strerror or str(error)).lower()}{place}", error)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in HELP:
        print(_overview())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"robolearn {__version__}")
        return 0
    verb, words = _name(words[0], VERBS, "verb"), words[1:]
    config_name = verb
    if verb in TOOLS:
        if not words or words[0] in HELP:
            print(_tools(verb))
            return 0 if words else 2
        tool, words = _name(words[0], TOOLS[verb], f"`{verb}` tool"), words[1:]
        config_name = f"{verb}_{tool}"
    if any(word in HELP for word in words):
        print(_verb_help(config_name))
        return 0
    return _run(*config_of(config_name, words))


def config_of(name: str, words: list[str]) -> tuple[str, list[str]]:
    """Which config the words of a verb or tool override, and the words for it: an operator who collects on a robot runs that robot."""
    if name == "collect" and any(word.startswith("robot=") for word in words):
        name, words = "run", on_robot(words)
    return name, with_parts(name, words)


def on_robot(words: list[str]) -> list[str]:
    """The words of ``robolearn run`` for those of ``robolearn collect`` that name a robot: the operator's session is a run.

    Raises:
        UserError: another source than an operator.
    """
    sources = {word.partition("=")[2] for word in words if word.startswith("source=")}
    if sources - {"operator"}:
        raise UserError("on a robot collect takes source=operator; `robolearn run robot=... checkpoint=...` records what a policy does")
    given = any(word.startswith("device=") for word in words)
    return [*([] if given else ["device=browser"]), *(word for word in words if not word.startswith("source="))]


def _run(verb: str, words: list[str]) -> int:
    flags = [word for word in words if word.startswith("-")]
    overrides = [word for word in words if not word.startswith("-")]
    for flag in flags:
        if flag not in FLAGS:
            known = ", ".join(["--help", *FLAGS])
            raise UserError(f"unknown option {flag!r}: options are written key=value; besides there are {known} and --traceback")
    if not (CONF / f"{verb}.yaml").is_file():
        raise UserError(f"{verb.replace('_', ' ')!r} is not part of this installation")
    # Idle threads of torch spin for some ten microseconds and then sleep: two pools that go on spinning cost more than they give,
    # one that sleeps at once takes a quarter longer over a gradient step.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if verb in ONE_THREAD:  # before numpy: a pool of threads makes solves of 6 equations eight times slower
        for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(pool, "1")
    from robolearn.config import compose
    from robolearn.nodes import find_target

    config = compose(verb, overrides)
    for flag in flags:
        if FLAGS[flag][0] not in config:
            raise UserError(f"`robolearn {verb.replace('_', ' ')}` {FLAGS[flag][1]}: leave {flag} out")
        config[FLAGS[flag][0]] = True
    result = find_target(str(config["_target_"]))(config)
    return result if type(result) is int else 0


def with_parts(verb: str, words: list[str]) -> list[str]:
    """The words after a verb, those that name parts of it first gathered in its option ``parts``."""
    named = list(itertools.takewhile(lambda word: "=" not in word and not word.startswith("-"), words)) if verb in PARTS else []
    known = dict.fromkeys(PARTS.get(verb, ()), "")
    chosen = [_name(word, known, f"`{verb}` part") for word in named]
    return [f"parts=[{','.join(chosen)}]", *words[len(named) :]] if chosen else words


def _name(given: str, known: dict[str, str], what: str) -> str:
    """``given`` when known, else an error that names the nearest."""
    if given in known:
        return given
    raise UserError(f"no {what} {given!r}; there are {', '.join(known)}{nearest(given, known)}")


def _fail(message: str, error: BaseException, code: int = 1, label: str = "error: ") -> int:
    notes = getattr(error, "__notes__", [])
    print("; ".join([f"{label}{message}", *notes]), file=sys.stderr)
    return code


def _overview() -> str:
    verbs = "\n".join(f"  {name:<10}{text}" for name, text in VERBS.items())
    return (
        f"robolearn {__version__}: from a few demonstrations to a refined, value-guided robot policy\n\n"
        f"usage: robolearn <verb> [key=value ...] [--json]\n\nverbs:\n{verbs}\n\n"
        "`robolearn <verb> --help` lists its options; --json prints what a machine reads; --traceback shows where an error arose.\n\n"
        f"{EXAMPLES}"
    )


def _tools(verb: str) -> str:
    tools = "\n".join(f"  {name:<10}{text}" for name, text in TOOLS[verb].items())
    return f"robolearn {verb}: {VERBS[verb]}\n\nusage: robolearn {verb} <tool> [key=value ...] [--json]\n\ntools:\n{tools}\n"


def _verb_help(verb: str) -> str:
    """The verb's YAML, which says its options, defaults and what they mean."""
    file = CONF / f"{verb}.yaml"
    if not file.is_file():
        raise UserError(f"{verb.replace('_', ' ')!r} is not part of this installation")
    name, _, tool = verb.partition("_")
    summary = TOOLS[name][tool] if tool else VERBS[name]
    options, members = _options(file.read_text().splitlines())
    groups = "".join(f"  {line}\n" for line in members)
    parts = f" [{'|'.join(PARTS[verb])} ...]" if verb in PARTS else ""
    return (
        f"robolearn {verb.replace('_', ' ')}: {summary}\n\nusage: robolearn {verb.replace('_', ' ')}{parts} [key=value ...] [--json]\n\n"
        + (f"chosen by name:\n{groups}\n" if groups else "")
        + "options and defaults (a nested one is written a.b=value):\n"
        + "\n".join(f"  {line}".rstrip() for line in options)
        + "\n"
    )


def _options(lines: list[str]) -> tuple[list[str], list[str]]:
    """Splits a verb's YAML into its options and, for each config group in ``defaults``, the names to choose from."""
    options: list[str] = []
    members: list[str] = []
    within = ""
    for line in lines:
        if line and not line.startswith((" ", "-", "#")):
            within = line.split(":")[0]
        if within == "defaults" and line.strip() and not line.startswith("#"):  # one entry a line, or all in brackets
            entries = line.partition("[")[2].partition("]")[0].split(",") if "[" in line else [line.strip().removeprefix("- ")]
            members += [text for entry in entries for text in _members(entry.strip())]
        elif within not in ("hydra", "_target_"):
            options.append(line)
    while options and not options[0].strip():
        options.pop(0)
    return options, members


def _members(entry: str) -> list[str]:
    group, _, default = (part.strip() for part in entry.partition("#")[0].partition(":"))
    group = group.removeprefix("optional ").removeprefix("override ")
    folder = CONF / group.split("@")[0]
    if not default or group.startswith("_") or not folder.is_dir():
        return []
    return [f"{group}={default:<16}one of: {', '.join(sorted(file.stem for file in folder.glob('*.yaml')))}"]


if __name__ == "__main__":
    sys.exit(main())
