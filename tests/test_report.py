"""The report is one file that holds its tables, curves, calibration, videos, configs and commands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from robolearn import report
from robolearn.errors import UserError
from robolearn.logger import read_metrics
from robolearn.run import start_run
from robolearn.significance import mcnemar, paired_t, wilson
from robolearn.video import Clip, VideoWriter, write_clips


def evaluation(n: int = 200) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    first = generator.random(n) < 0.5
    arms = []
    for name, gain in (("base", 0.0), ("<refined>", 0.6)):
        success = first | (generator.random(n) < gain)
        arms.append(
            {
                "name": name,
                "options": {},
                "success": vars(wilson(int(success.sum()), n)),
                "against_first": vars(mcnemar(first, success)) if gain else None,
                "stages": {"grasped": 0.9, "inserted": 0.6, "success": float(success.mean())},
                "steps": {"mean": 300.0, "solved": 250.0},
                "latency_ms": {"p50": 12.0, "p99": 20.0},
                "steering": {"decisions": 100.0, "abstained": 0.25, "spread": 0.04} if gain else {},
            }
        )
    return {"task": "one_leg", "split": "evaluation", "n": n, "arms": arms, "videos_note": ""}


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """A finetune-like run of two seeds, and a critic's."""
    refined, critic = tmp_path / "refined", tmp_path / "critic"
    for folder, word in ((refined, "ppo"), (critic, "mc")):
        with start_run(OmegaConf.create({"out": str(folder), "secret_word": word, "tensorboard": False}), "finetune") as run:
            run.finish({"seeds": {"0": {"reliability": [[0.1, 0.05, 40], [0.8, 0.9, 60]]}}} if word == "mc" else {})
    for seed in (0, 1):
        (refined / f"seed_{seed}").mkdir()
        lines = [{"step": 1000 * i, "eval/success": 0.4 + 0.1 * i, "time/env_steps_per_s": 100.0, "time/eval": 5.0} for i in range(5)]
        (refined / f"seed_{seed}" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [refined, critic, tmp_path / "missing"]


def clips(folder: Path) -> list[Clip]:
    folder.mkdir()
    made = []
    for arm, success in (("base", False), ("<refined>", True)):
        path = folder / f"{success}.mp4"
        with VideoWriter(path) as writer:
            for shade in range(12):
                writer.write(np.full((48, 64, 3), 20 * shade, np.uint8))
        made.append(Clip(path, arm, 7, success, 12))
    return made


def test_the_page_holds_tables_curves_calibration_videos_and_commands_and_refers_to_nothing_outside(
    tmp_path: Path, runs: list[Path]
) -> None:
    out = report.build_report(tmp_path / "report.html", evaluation(), runs, clips(tmp_path / "videos"))
    page = out.read_text()
    arms = evaluation()["arms"]
    for arm in arms:
        assert f"{100 * arm['success']['rate']:.1f} %" in page
    assert "&lt;refined&gt;" in page and "<refined>" not in page  # a name is text, not markup
    assert f"{arms[1]['against_first']['p_value']:.2g}" in page
    assert page.count("<svg") == 4  # success, stages, curves, calibration
    assert page.count("data:video/mp4;base64,") == 2
    assert "secret_word: ppo" in page and "secret_word: mc" in page
    assert "kept the first draw in 25 %" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page.replace('xlink:href="#', "#")) and "@import" not in page


def test_the_verdict_names_the_best_arm_and_how_sure_it_is() -> None:
    said = report.verdict(evaluation())
    paired = evaluation()["arms"][1]["against_first"]
    assert said.startswith("<refined> solves") and said.endswith(f"p = {paired['p_value']:.2g}.")
    assert f"{100 * paired['difference']:+.1f} points [{100 * paired['low']:+.1f}, {100 * paired['high']:+.1f}]" in said


def test_methods_have_a_table_and_the_verdict_is_of_them(tmp_path: Path) -> None:
    document = evaluation()
    success = [document["arms"][0]["success"], document["arms"][1]["success"]]
    test = vars(paired_t([0.0, 0.0, 0.5, 1.0], [1.0, 0.5, 0.5, 1.5]))
    document["methods"] = [
        {"name": "few", "arms": ["base"], "rates": [0.123], "success": success[0], "against": {}},
        {"name": "more", "arms": ["<refined>"], "rates": [0.456], "success": success[1], "against": {"few": test}},
    ]
    page = report.build_report(tmp_path / "report.html", document, []).read_text()
    assert 'id="methods"' in page and "12.3" in page and "45.6" in page and "against few" in page and "+50.0 pp" in page
    assert 'id="methods"' not in report.build_report(tmp_path / "arms.html", evaluation(), []).read_text()
    assert report.verdict(document).startswith("more solves")


def test_curves_take_minutes_from_the_logged_speed(runs: list[Path]) -> None:
    by_step, by_time = report.run_curves(runs[0])
    assert by_step.x_name == "environment steps" and by_time.x_name == "minutes"
    assert len(by_step.lines) == len(by_time.lines) == 2
    x, y = by_time.lines[0]
    np.testing.assert_allclose(x, [(5 * (i + 1) + 10 * i) / 60 for i in range(5)])
    assert y == by_step.lines[0][1]


def test_a_note_stands_where_the_machine_cannot_draw(tmp_path: Path) -> None:
    document = evaluation() | {"videos_note": "no videos: this machine cannot draw"}
    assert "this machine cannot draw" in report.build_report(tmp_path / "r.html", document, []).read_text()


def test_the_verb_makes_a_page_of_finished_runs(tmp_path: Path, runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    (runs[0] / "results.json").write_text(json.dumps(evaluation()))
    write_clips(runs[0] / "videos", [])
    options = {"out": str(tmp_path / "page.html"), "title": "Chain", "overwrite": False}
    assert report.main(OmegaConf.create({**options, "runs": [str(runs[1]), str(runs[0])]})) == 0
    assert "<h1>Chain</h1>" in (tmp_path / "page.html").read_text() and "page.html" in capsys.readouterr().out
    with pytest.raises(UserError, match="no run holds an evaluation"):
        report.main(OmegaConf.create({**options, "runs": [str(runs[1])], "out": "x.html"}))


def test_one_run_needs_no_brackets_and_no_page_is_replaced_unasked(tmp_path: Path, runs: list[Path]) -> None:
    (runs[0] / "results.json").write_text(json.dumps(evaluation()))
    options = OmegaConf.create({"runs": str(runs[0]), "out": str(tmp_path / "page.html"), "title": None, "overwrite": False})
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(UserError, match=r"page.html exists.*overwrite=true"):
        report.main(options)
    assert (tmp_path / "page.html").read_text() == "mine"
    assert report.main(OmegaConf.merge(options, {"overwrite": True})) == 0
    assert "<svg" in (tmp_path / "page.html").read_text()


def test_a_torn_evaluation_is_one_line(tmp_path: Path, runs: list[Path]) -> None:
    (runs[0] / "results.json").write_text(json.dumps(evaluation())[:100])
    options = OmegaConf.create({"runs": [str(runs[0])], "out": str(tmp_path / "page.html"), "title": None, "overwrite": False})
    with pytest.raises(UserError, match=r"results.json is damaged"):
        report.main(options)


METHODLESS = json.dumps({**evaluation(), "methods": [{"name": "more"}]})


@pytest.mark.parametrize(
    "text", ["{}", '{"arms": []}', '{"task": "t", "split": "s", "n": 1, "arms": []}', '{"arms": [{}], "task": 1, "split": 1, "n": 1}']
)
def test_an_evaluation_that_lacks_something_is_one_line(tmp_path: Path, runs: list[Path], text: str) -> None:
    (runs[0] / "results.json").write_text(text)
    options = OmegaConf.create({"runs": [str(runs[0])], "out": str(tmp_path / "page.html"), "title": None, "overwrite": False})
    with pytest.raises(UserError, match=r"results.json (is damaged|names no arms)"):
        report.main(options)


def test_a_torn_list_of_clips_is_one_line(tmp_path: Path, runs: list[Path]) -> None:
    (runs[0] / "results.json").write_text(json.dumps(evaluation()))
    (runs[0] / "videos").mkdir()
    (runs[0] / "videos" / "clips.json").write_text('[{"arm": ')
    options = OmegaConf.create({"runs": [str(runs[0])], "out": str(tmp_path / "page.html"), "title": None, "overwrite": False})
    with pytest.raises(UserError, match=r"clips.json is damaged"):
        report.main(options)


def test_metrics_that_are_none_end_the_curve(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n[1]\n{"step": 2}\n')
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1}]
