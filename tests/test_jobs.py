"""Several commands at once, in an order that their needs allow."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from robolearn import jobs
from robolearn.jobs import Command, play_together
from robolearn.learning.interrupt import Stop, Terminated


def command(folder: Path, name: str, code: str, *needs: str) -> Command:
    return Command(name, (sys.executable, "-c", code), frozenset(needs), folder / f"{name}.log")


def test_what_needs_nothing_plays_at_once_and_the_rest_waits_for_what_it_needs(tmp_path: Path) -> None:
    meet = "import pathlib, sys, time\nmine, other = map(pathlib.Path, {})\nmine.touch()\nwhile not other.exists(): time.sleep(0.01)"
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    ended: list[str] = []
    commands = [
        command(tmp_path, "a", meet.format([a, b])),  # each ends only if the other plays beside it
        command(tmp_path, "b", meet.format([b, a])),
        command(tmp_path, "c", f"import pathlib; assert pathlib.Path({a!r}).exists(); print('seen')", "a", "b"),
    ]
    assert play_together(commands, 2, lambda name, code, minutes: ended.append(name)) == []
    assert ended[-1] == "c" and sorted(ended) == ["a", "b", "c"]
    assert (tmp_path / "c.log").read_text().endswith("\nseen\n")


def test_after_a_failure_nothing_is_begun_and_what_plays_is_waited_for(tmp_path: Path) -> None:
    codes: dict[str, int] = {}
    commands = [
        command(tmp_path, "slow", "import time; time.sleep(1)"),
        command(tmp_path, "fails", "raise SystemExit(3)"),
        command(tmp_path, "after", "", "fails"),
        command(tmp_path, "free", ""),
    ]
    assert play_together(commands, 2, lambda name, code, minutes: codes.update({name: code})) == ["fails"]
    assert codes == {"fails": 3, "slow": 0}


def test_the_cores_are_shared_unless_the_user_says_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    show = "import os; print(os.environ['OMP_NUM_THREADS'])"
    monkeypatch.setattr(jobs, "cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    play_together([command(tmp_path, "shared", show)], 2, lambda *_: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    play_together([command(tmp_path, "said", show)], 2, lambda *_: None)
    assert [(tmp_path / f"{name}.log").read_text().splitlines()[-1] for name in ("shared", "said")] == ["3", "5"]


def test_no_process_is_left_behind_by_an_error(tmp_path: Path) -> None:
    def full(name: str, code: int, minutes: float) -> None:
        raise OSError("no space left on device")

    lasting = command(tmp_path, "lasting", "import time; time.sleep(60)")
    begun = time.monotonic()
    with pytest.raises(OSError, match="no space left"):
        play_together([lasting, command(tmp_path, "short", "")], 2, full)
    assert time.monotonic() - begun < 30  # it was ended and waited for


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_reaches_all_that_play_and_is_raised_once_they_have_ended(
    tmp_path: Path, number: int, raised: type[BaseException]
) -> None:
    saves = (
        "import pathlib, signal, sys, time\n"
        "def save(*_):\n    time.sleep(0.3); pathlib.Path(sys.argv[1]).touch(); sys.exit(130)\n"
        f"signal.signal({int(number)}, save)\npathlib.Path(sys.argv[1] + '.ready').touch()\ntime.sleep(60)"
    )
    files = [tmp_path / name for name in "ab"]
    commands = [Command(file.name, (sys.executable, "-c", saves, str(file)), frozenset(), tmp_path / f"{file.name}.log") for file in files]

    def terminate() -> None:
        while not all(Path(f"{file}.ready").exists() for file in files):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    killer = threading.Thread(target=terminate)
    killer.start()
    with Stop(), pytest.raises(raised) as caught:
        play_together([*commands, command(tmp_path, "never", "")], 2, lambda *_: None)
    killer.join()
    assert caught.type is raised
    assert all(file.exists() for file in files)
    assert not (tmp_path / "never.log").exists()
