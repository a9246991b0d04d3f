"""The demo: a chain of commands, each done once, gone on with where it stopped."""

import json

import pytest
from omegaconf import OmegaConf

from robolearn import cli, demo
from robolearn.config import compose
from robolearn.errors import UserError


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


def test_a_stage_takes_extra_options_last(chain):
    chain(extra={"train": ["task=y"]}, only=["train"])
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
