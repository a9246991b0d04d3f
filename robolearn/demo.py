"""The whole chain on one task: each stage is a command of its own, run in a process of its own, and skipped when it is already done."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robolearn.config import CONF, option_value
from robolearn.errors import UserError, nearest
from robolearn.jobs import Command, play_together
from robolearn.learning.interrupt import Held, Terminated
from robolearn.nodes import to_dict
from robolearn.run import Run, go_on, read_json, start_run, write_json

PLACE = "{run}"


@dataclass(frozen=True)
class Stage:
    """One command of the chain.

    A verb without ``resume`` leaves what it makes whole or not at all, so what is there is done.

    Args:
        name: what it is called here.
        verb: of the command line, with its tool where it has some (``data import``).
        makes: the file or folder that it leaves in the demo's folder.
        options: its ``key=value`` words, :data:`PLACE` standing for the demo's folder.
    """

    name: str
    verb: str
    makes: str
    options: tuple[str, ...]

    @property
    def resumes(self) -> bool:
        """Whether the verb has the option ``resume``."""
        return "resume" in OmegaConf.load(CONF / f"{self.verb.replace(' ', '_')}.yaml")

    def words(self, folder: Path) -> list[str]:
        """The command's words; what an earlier, unfinished try left is gone on with."""
        again = ["resume=true"] if self.resumes and (folder / self.makes).exists() else []
        return [*self.verb.split(), *(_placed(option, folder) for option in self.options), *again]


def _placed(option: str, folder: Path) -> str:
    """An option with the demo's folder in place of :data:`PLACE`, quoted where its name needs it."""
    return re.sub(re.escape(PLACE) + r"[\w./-]*", lambda found: option_value(found[0].replace(PLACE, str(folder))), option)


def main(cfg: DictConfig) -> int:
    """``robolearn demo``.

    Raises:
        UserError: a stage failed, or one is named that does not exist.
    """
    stages, jobs = read_stages(to_dict(cfg)), _jobs(cfg.jobs)
    with start_run(cfg, "demo", log=False) as run:
        begun = time.monotonic()
        minutes = play_all(stages, run, quiet=bool(cfg.json), jobs=jobs)
        together = sum(minutes.values()) if jobs == 1 else (time.monotonic() - begun) / 60
        report = next((file for stage in reversed(stages) for file in [run.dir / stage.makes / "report.html"] if file.is_file()), None)
        outcome = {"minutes": minutes, "total_minutes": together, "report": str(report) if report else None}
        if not cfg.only:  # a part is not the whole: the rest is still to be done
            run.finish(outcome)
    print(json.dumps(outcome) if cfg.json else _text(outcome))
    return 0


def read_stages(options: Mapping[str, Any]) -> list[Stage]:
    """The stages to do, in order, with the user's extra options last.

    Raises:
        UserError: ``only`` or ``extra`` name a stage that does not exist.
    """
    nodes, extra, only = options["stages"], options["extra"], options["only"]
    for name in [*extra, *only]:
        if name not in nodes:
            raise UserError(f"the demo has no stage {name!r}; there are {', '.join(nodes)}{nearest(name, nodes)}")
    return [
        Stage(name, node["verb"], node["makes"], (*node["options"], *_listed(extra.get(name, ()))))
        for name, node in nodes.items()
        if not only or name in only
    ]


def _listed(options: str | Sequence[Any]) -> list[str]:
    """Several options, or a single one, as a list."""
    return [options] if isinstance(options, str) else [str(option) for option in options]


def _jobs(jobs: Any) -> int:
    if type(jobs) is not int or jobs < 1:
        raise UserError(f"jobs is how many stages are played at once, at least 1; got {jobs!r}")
    return jobs


def play_all(stages: Sequence[Stage], run: Run, *, quiet: bool, jobs: int) -> dict[str, float]:
    """Run the stages that are not done, up to ``jobs`` at once; returns the minutes that each took.

    Raises:
        UserError: a stage failed; those that were playing beside it have ended.
    """
    if jobs == 1:
        return {stage.name: play(stage, run, quiet=quiet) for stage in stages}
    minutes = {stage.name: done for stage in stages if (done := done_already(stage, run)) is not None}
    left = [stage for stage in stages if stage.name not in minutes]
    words = {stage.name: stage.words(run.dir) for stage in left}
    needed = {stage.name: needs(stage, left) for stage in left}
    if stuck := _stuck(needed):
        raise UserError(f"stages {', '.join(stuck)} need each other's work, so none of them can begin")

    def ended(name: str, code: int, took: float) -> None:
        print(f"{name}: {'done' if code == 0 else f'exit code {code}'} after {took:.1f} min", file=sys.stderr, flush=True)
        if code == 0:
            minutes[name] = took
            _note(next(stage for stage in left if stage.name == name), run, words[name], took)

    (run.dir / "stages").mkdir(exist_ok=True)
    commands = [
        Command(stage.name, (sys.executable, "-m", "robolearn", *words[stage.name]), needed[stage.name], _log(stage, run)) for stage in left
    ]
    for stage in left:
        print(f"{stage.name}: $ robolearn {shlex.join(words[stage.name])}", file=sys.stderr, flush=True)
    failed = play_together(commands, jobs, ended)
    if failed:
        logs = ", ".join(str(_log(stage, run)) for stage in left if stage.name in failed)
        raise UserError(f"stage {', '.join(failed)} failed (see {logs}); go on with: {go_on(run.verb, run.dir)}")
    return {stage.name: minutes[stage.name] for stage in stages}


def needs(stage: Stage, stages: Sequence[Stage]) -> frozenset[str]:
    """Names of the stages whose work another one's options speak of."""
    made = {other.name: re.compile(re.escape(f"{PLACE}/{other.makes}") + r"(?![\w.-])") for other in stages if other is not stage}
    return frozenset(name for name, path in made.items() if any(path.search(option) for option in stage.options))


def _stuck(needed: Mapping[str, frozenset[str]]) -> list[str]:
    """Those that can never begin, as each waits for another of them."""
    left = dict(needed)
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    return list(left)


def play(stage: Stage, run: Run, *, quiet: bool) -> float:
    """Run a stage unless it is done; returns the minutes that it took."""
    minutes = done_already(stage, run)
    if minutes is not None:
        return minutes
    words = stage.words(run.dir)
    print(f"\n$ robolearn {shlex.join(words)}", file=sys.stderr, flush=True)
    begun = time.monotonic()
    code = _call(words, quiet)
    if code:
        raise UserError(f"stage {stage.name} failed with exit code {code}; go on with: {go_on(run.verb, run.dir)}")
    minutes = (time.monotonic() - begun) / 60
    _note(stage, run, words, minutes)
    return minutes


def done_already(stage: Stage, run: Run) -> float | None:
    """The minutes that a finished stage took; None where it is still to be done."""
    note = _note_of(stage, run)
    minutes = _minutes(note)
    if not (run.dir / stage.makes).exists() or (minutes is None and stage.resumes):
        return None
    _check_same(stage, note, run)
    print(f"{stage.name}: done already", file=sys.stderr)
    if minutes is None:
        minutes = 0.0  # how long an import took is not known where the demo died before its note
        _note(stage, run, stage.words(run.dir), minutes)
    return minutes


def _note(stage: Stage, run: Run, words: Sequence[str], minutes: float) -> None:
    note = _note_of(stage, run)
    note.parent.mkdir(exist_ok=True)
    write_json(note, {"minutes": minutes, "command": ["robolearn", *words], "options": list(stage.options)})


def _note_of(stage: Stage, run: Run) -> Path:
    return run.dir / "stages" / f"{stage.name}.json"


def _log(stage: Stage, run: Run) -> Path:
    return run.dir / "stages" / f"{stage.name}.log"


def _check_same(stage: Stage, note: Path, run: Run) -> None:
    """Raise ``UserError`` where a finished stage was made with other options than it would be made with now."""
    before = _read_note(note).get("options")
    if before is not None and before != list(stage.options):
        differing = ", ".join(sorted({*before} ^ {*stage.options}))
        raise UserError(f"stage {stage.name} in {run.dir} was made with other options ({differing}); give another out=, or overwrite=true")


def _minutes(note: Path) -> float | None:
    """How long a finished stage took; None where its note is not there, or torn."""
    minutes = _read_note(note).get("minutes")
    return float(minutes) if isinstance(minutes, int | float) else None


def _read_note(note: Path) -> dict[str, Any]:
    """What is noted of a finished stage; nothing where the note is not there, or torn."""
    try:
        return read_json(note)
    except (FileNotFoundError, UserError):
        return {}


def _call(words: list[str], quiet: bool) -> int:
    """A command in a process of its own, so that its memory and threads are gone when it ends; ``quiet`` keeps stdout for the outcome."""
    return wait_for([sys.executable, "-m", "robolearn", *words], 2 if quiet else None)


def wait_for(command: Sequence[str], stdout: int | None) -> int:
    """Exit code of a process; Ctrl-C and SIGTERM are passed on to it and raised once it has ended, its work saved."""
    process: subprocess.Popen[bytes] | None = None
    asked: KeyboardInterrupt | None = None
    while True:
        try:
            if process is None:
                with Held():  # a signal amid its start would leave it behind
                    process = subprocess.Popen(command, stdout=stdout)
            code = process.wait()
            break
        except KeyboardInterrupt as stop:
            if process is None:
                raise
            asked = stop
            process.send_signal(signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
    if asked is not None:
        raise asked
    return code


def _text(outcome: Mapping[str, Any]) -> str:
    lines = [f"{name:<12}{minutes:6.1f} min" for name, minutes in outcome["minutes"].items()]
    report = [f"report: {outcome['report']}"] if outcome["report"] else []
    return "\n".join(["", *lines, f"{'together':<12}{outcome['total_minutes']:6.1f} min", *report])
