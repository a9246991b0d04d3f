"""The demo: a chain of commands, each done once, gone on with where it stopped."""

import json
import os
import signal
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from robolearn import cli, demo
from robolearn.config import compose
from robolearn.errors import UserError
from robolearn.learning.interrupt import Stop, Terminated


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """Two stages that note their words; a stage named in ``fails`` leaves half of its work and fails."""
    fails, calls = set(), []

    def call(words, quiet):
        calls.append(words)
        out = next(word.split("=", 1)[1] for word in words if word.startswith("out="))
        (tmp_path / "run" / out).mkdir(exist_ok=True)
        return 1 if words[0] in fails else 0

    def run(**options):
        stages = {verb: {"verb": verb, "makes": verb, "options": [f"out={{run}}/{verb}", "task=x"]} for verb in ("train", "evaluate")}
        base = {
            "out": str(tmp_path / "run"),
            "resume": False,
            "stages": stages,
            "extra": {},
            "jobs": 1,
            "only": [],
            "json": False,
            "tensorboard": False,
        }
        return demo.main(OmegaConf.create({**base, **options}))

    monkeypatch.setattr(demo, "_call", call)
    run.calls, run.fails, run.folder = calls, fails, tmp_path / "run"
    return run


def test_stages_are_commands_with_the_runs_folder_filled_in(chain):
    assert chain() == 0
    assert chain.calls == [["train", f"out={chain.folder}/train", "task=x"], ["evaluate", f"out={chain.folder}/evaluate", "task=x"]]


def test_a_folder_whose_name_is_special_is_quoted_for_the_stages(tmp_path):
    stage = demo.Stage("comparison", "evaluate", "c", ("out={run}/c", "runs=[{run}/a,{run}/b]", "arms=[{checkpoint: {run}/a}]"))
    words = stage.words(tmp_path / "d b,c=d")
    cfg = compose("evaluate", words[1:])
    assert (cfg.out, list(cfg.runs)) == (f"{tmp_path}/d b,c=d/c", [f"{tmp_path}/d b,c=d/{name}" for name in "ab"])
    assert cfg.arms[0].checkpoint == f"{tmp_path}/d b,c=d/a"


def test_a_failed_stage_stops_the_chain_and_says_how_to_go_on(chain):
    chain.fails.add("train")
    with pytest.raises(UserError, match=r"stage train failed.*resume=true"):
        chain()
    assert len(chain.calls) == 1


def test_going_on_skips_what_is_done_and_resumes_what_is_half_done(chain):
    chain.fails.add("evaluate")
    with pytest.raises(UserError):
        chain()
    chain.fails.clear()
    chain(resume=True)
    assert chain.calls[2:] == [["evaluate", f"out={chain.folder}/evaluate", "task=x", "resume=true"]]
    chain(resume=True)
    assert len(chain.calls) == 3


IMPORT = {"human": {"verb": "data import", "makes": "human.zarr", "options": ["out={run}/human.zarr"]}}


def test_an_import_that_is_there_is_done_because_it_takes_its_place_whole(chain, capsys):
    (chain.folder / "human.zarr").mkdir(parents=True)
    (chain.folder / "stages").mkdir()
    (chain.folder / "stages" / "human.json").touch()  # as a full disk leaves it
    run_config = chain.folder / "config.yaml"
    run_config.write_text("{}")
    (chain.folder / "versions.json").write_text("{}")
    chain(resume=True, stages=IMPORT)
    assert (chain.calls, "human: done already" in capsys.readouterr().err) == ([], True)
    assert json.loads((chain.folder / "stages" / "human.json").read_text())["command"][:3] == ["robolearn", "data", "import"]


def test_a_torn_note_of_a_stage_that_resumes_is_gone_on_with(chain):
    chain(only=["train"])
    (chain.folder / "stages" / "train.json").write_text('{"minutes"')
    chain(resume=True, only=["train"])
    assert chain.calls[1][-1] == "resume=true"


def test_sigterm_and_ctrl_c_reach_the_stage_which_is_waited_for(tmp_path):
    code = (
        "import os, pathlib, signal, sys, time\n"
        "def stop(number, frame):\n"
        "    time.sleep(0.3)\n"
        f"    pathlib.Path({str(tmp_path)!r}, signal.Signals(number).name).touch()\n"
        "    sys.exit(0)\n"
        "for number in (signal.SIGTERM, signal.SIGINT): signal.signal(number, stop)\n"
        "os.kill(os.getppid(), signal.Signals[sys.argv[1]])\n"
        "time.sleep(30)\n"
    )
    for name, raised in (("SIGTERM", Terminated), ("SIGINT", KeyboardInterrupt)):
        with Stop(), pytest.raises(raised):
            demo.wait_for([sys.executable, "-c", code, name], None)
        assert (tmp_path / name).exists()


@pytest.mark.parametrize("extra", [["task=y"], "task=y"])
def test_a_stage_takes_extra_options_last(chain, extra):
    chain(extra={"train": extra}, only=["train"])
    assert chain.calls == [["train", f"out={chain.folder}/train", "task=x", "task=y"]]


@pytest.mark.parametrize("option", [{"only": ["trian"]}, {"extra": {"trian": []}}])
def test_a_stage_that_does_not_exist_is_named(chain, option):
    with pytest.raises(UserError, match="did you mean 'train'"):
        chain(**option)


def test_the_report_of_the_last_stage_is_told(chain, capsys):
    (chain.folder / "evaluate").mkdir(parents=True)
    (chain.folder / "evaluate" / "report.html").touch()
    OmegaConf.save(OmegaConf.create({}), chain.folder / "config.yaml")
    (chain.folder / "versions.json").write_text("{}")
    chain(resume=True, json=True)
    assert json.loads(capsys.readouterr().out)["report"] == str(chain.folder / "evaluate" / "report.html")


def test_a_stage_is_a_command_line_in_a_process_of_its_own(capfd):
    assert demo._call(["--version"], quiet=True) == 0
    out, err = capfd.readouterr()
    assert (out, err) == ("", f"robolearn {cli.__version__}\n")
    assert demo._call(["no-such-verb"], quiet=True) == 1


def test_a_part_of_the_chain_leaves_the_rest_to_be_gone_on_with(chain):
    assert chain(only=["train"]) == 0
    assert not (chain.folder / "result.json").exists()
    assert chain(resume=True) == 0
    assert [words[0] for words in chain.calls] == ["train", "evaluate"]
    assert (chain.folder / "result.json").exists()


def test_going_on_does_not_repeat_which_part_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "_call", lambda words, quiet: 0)
    assert cli.main(["demo", f"out={tmp_path / 'run'}", "only=[expert]"]) == 0
    assert list(compose("demo", [f"out={tmp_path / 'run'}", "resume=true"]).only) == []


def test_a_finished_stage_is_not_passed_off_as_one_with_other_options(chain):
    chain(only=["train"])
    with pytest.raises(UserError, match=r"stage train in .* was made with other options \(episodes=4\).*overwrite=true"):
        chain(resume=True, extra={"train": "episodes=4"})


def test_stages_need_those_whose_work_they_speak_of():
    ten = demo.Stage("ten", "collect", "ten.zarr", ("store={run}/ten.zarr",))
    base = demo.Stage("base", "train", "base", ("store=[{run}/ten.zarr]", "out={run}/base"))
    other = demo.Stage("base_2", "train", "base_2", ("store={run}/ten.zarr2", "out={run}/base_2"))
    compared = demo.Stage("c", "evaluate", "c", ("arms=[{checkpoint: {run}/base_2/checkpoints/last}]", "out={run}/c"))
    stages = [ten, base, other, compared]
    assert [sorted(demo.needs(stage, stages)) for stage in stages] == [[], ["ten"], [], ["base_2"]]


def test_stages_at_once_are_noted_and_logged_and_done_once(tmp_path, capfd):
    options = {"out": str(tmp_path / "run"), "resume": False, "extra": {}, "jobs": 2, "only": [], "json": True, "tensorboard": False}
    words = ["task=one_leg", "episodes=1", "task.env.max_episode_steps=2", "keep=all", "source=expert", "num_envs=1"]
    stages = {name: {"verb": "collect", "makes": f"{name}.zarr", "options": [*words, f"store={{run}}/{name}.zarr"]} for name in "ab"}
    assert demo.main(OmegaConf.create({**options, "stages": stages})) == 0
    assert "a: done after" in capfd.readouterr().err
    assert "1 episodes" in (tmp_path / "run" / "stages" / "b.log").read_text()
    assert demo.main(OmegaConf.create({**options, "stages": stages, "resume": True})) == 0
    assert "b: done already" in capfd.readouterr().err


def test_a_stage_that_fails_beside_others_is_named_with_its_log(tmp_path):
    options = {"out": str(tmp_path / "run"), "resume": False, "extra": {}, "jobs": 2, "only": [], "json": False, "tensorboard": False}
    stages = {"bad": {"verb": "collect", "makes": "bad.zarr", "options": ["episodes=0", "store={run}/bad.zarr"]}}
    with pytest.raises(UserError, match=r"stage bad failed \(see .*bad.log\); go on with"):
        demo.main(OmegaConf.create({**options, "stages": stages}))
    assert "episodes must be" in (tmp_path / "run" / "stages" / "bad.log").read_text()


def test_less_than_one_job_is_refused_before_anything_is_replaced(chain):
    chain()
    with pytest.raises(UserError, match="jobs is how many stages"):
        chain(jobs=0, overwrite=True)
    assert (chain.folder / "evaluate").exists()


def test_stages_that_wait_for_each_other_are_named_before_any_begins(chain):
    stages = {name: {"verb": "train", "makes": name, "options": [f"store={{run}}/{other}"]} for name, other in ("ab", "ba")}
    with pytest.raises(UserError, match="stages a, b need each other's work"):
        chain(jobs=2, stages={**stages, "c": {"verb": "train", "makes": "c", "options": []}})
    assert not list((chain.folder / "stages").glob("*.log"))


def test_a_signal_amid_the_start_of_a_stage_leaves_no_process_behind(monkeypatch):
    started = []

    class Slow(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Slow)
    with Stop(), pytest.raises(KeyboardInterrupt):
        demo.wait_for([sys.executable, "-c", "import time; time.sleep(30)"], None)
    assert started[0].poll() is not None
