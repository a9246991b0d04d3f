"""A finished recipe's figures as one JSON file."""

import json

import pytest

from robolearn.cli import main

ARM = {
    "name": "base", "success": {"rate": 0.5}, "against_first": None, "stages": {}, "steps": {}, "env_steps": 3, "minutes": 1.0,
    "steering": {}, "latency_ms": {}, "options": {},
}  # fmt: skip


def finished(folder):
    """A demo's folder as `robolearn demo` leaves it."""
    (folder / "stages").mkdir(parents=True)
    (folder / "comparison").mkdir()
    (folder / "refined" / "seed_0").mkdir(parents=True)
    (folder / "config.yaml").write_text("_target_: robolearn.demo.main\n")
    (folder / "versions.json").write_text(json.dumps({"command": ["/bin/robolearn", "demo"], "started": "2026-01-02", "git": "abc"}))
    (folder / "stages" / "base.json").write_text(json.dumps({"minutes": 1.234, "command": ["robolearn", "train", f"out={folder}/base"]}))
    arm = {**ARM, "options": {"checkpoint": f"{folder}/base"}}
    (folder / "comparison" / "results.json").write_text(json.dumps({"task": "t", "split": "evaluation", "n": 4, "arms": [arm]}))
    (folder / "refined" / "result.json").write_text(json.dumps({"seeds": {"0": {"base_success": 0.5, "best_success": 0.75}}}))
    lines = [
        {"step": 0, "eval/success": 0.5},
        {"step": 10, "train/success": 0.6},
        {"step": 20, "eval/success": 0.75, "time/eval": 60.0, "time/env_steps_per_s": 1e9},
    ]
    (folder / "refined" / "seed_0" / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def test_the_file_tells_commands_versions_and_curves_and_names_no_folder_of_this_machine(tmp_path):
    run, out = finished(tmp_path / "run"), tmp_path / "results.json"
    assert main(["results", f"run={run}", f"out={out}"]) == 0
    document = json.loads(out.read_text())
    assert document["command"] == ["robolearn", "demo"]
    assert document["versions"] == {"git": "abc"}
    assert document["minutes"] == {"base": 1.23}
    assert document["training"]["refined"]["0"]["curve"] == [[0, 0.0, 0.5], [20, 1.0, 0.75]]
    assert [arm["name"] for arm in document["comparisons"]["comparison"]["arms"]] == ["base"]
    assert "environment steps" in (tmp_path / "results.svg").read_text()
    assert str(tmp_path) not in out.read_text()


def test_nothing_is_overwritten_unless_asked(tmp_path, capsys):
    run, out = finished(tmp_path / "run"), tmp_path / "results.json"
    out.write_text("mine")
    assert main(["results", f"run={run}", f"out={out}"]) == 1
    assert "overwrite=true" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main(["results", f"run={run}", f"out={out}", "overwrite=true"]) == 0


@pytest.mark.parametrize("missing", ["versions.json", "comparison/results.json"])
def test_an_unfinished_run_says_how_to_finish_it(tmp_path, capsys, missing):
    run = finished(tmp_path / "run")
    (run / missing).unlink()
    assert main(["results", f"run={run}", f"out={tmp_path / 'out.json'}"]) == 1
    assert "resume=true" in capsys.readouterr().err


def test_a_run_of_another_verb_is_refused(tmp_path, capsys):
    run = finished(tmp_path / "run")
    (run / "config.yaml").write_text("_target_: robolearn.learning.evaluation.main\n")
    assert main(["results", f"run={run}", f"out={tmp_path / 'out.json'}"]) == 1
    assert "is a run of `robolearn evaluate`" in capsys.readouterr().err


@pytest.mark.parametrize("torn", ["versions.json", "comparison/results.json", "stages/base.json", "refined/result.json"])
def test_a_torn_file_is_named(tmp_path, capsys, torn):
    run = finished(tmp_path / "run")
    (run / torn).write_text('{"n": ')
    assert main(["results", f"run={run}", f"out={tmp_path / 'out.json'}"]) == 1
    err = capsys.readouterr().err
    assert f"{torn} is damaged" in err
    assert err.count("\n") == 1
