"""The contact sheet: a file with every task and level that was asked for, whole or not there."""

import json

import numpy as np
import pytest

from robolearn import cli
from robolearn.errors import UserError
from robolearn.sim import sheet


def test_a_sheet_is_a_picture_of_all_that_was_asked_for(tmp_path, capsys, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    try:
        sheet.StatePictures("one_leg", 16, 16).close()
    except UserError as error:
        pytest.skip(str(error))
    out = tmp_path / "sheet.png"
    words = ["sheet", f"out={out}", "tasks=[one_leg,pick_cube]", "levels=[low,high]", "starts=2", "size=[40,30]"]
    assert cli.main([*words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["tasks"], facts["levels"]) == (["one_leg", "pick_cube"], ["low", "high"])
    picture = np.asarray(image.open(out).convert("RGB"))
    assert list(picture.shape[1::-1]) == facts["size"]
    low, high = picture[18:48, :84], picture[18:48, 96:180]
    assert low.shape == high.shape and not np.array_equal(low, high)
    assert cli.main(words) == 2 - 1  # it is there already
    assert "overwrite=true" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["sheet.png"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("tasks=[one_lge]", "no task 'one_lge'.*did you mean 'one_leg'"),
        ("levels=hihg", "no level 'hihg'; there are low, med, high; did you mean 'high'"),
        ("out=sheet.gif", "a sheet is a PNG file"),
        ("starts=0", "starts must be above 0"),
        ("camera=frnt", "no camera 'frnt'.*did you mean 'front'"),
        ("size=[0,10]", "too small"),
        ("size=[64,48,3]", r"a width and a height, such as size=\[240,180\]; got \[64, 48, 3\]"),
        ("tasks=[]", "at least one task; there are .*one_leg"),
        ("levels=[]", "at least one level; there are low, med, high"),
    ],
)
def test_mistakes_are_one_line(option, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = cli_config(["tasks=[one_leg]", "levels=[low]", "starts=1", "size=[16,16]", option])
    with pytest.raises(UserError, match=message):
        sheet.main(config)


def cli_config(words):
    from robolearn.config import compose

    return compose("sheet", words)
