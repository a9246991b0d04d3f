"""Devices that are here are found, others are refused by name."""

import pytest

from robolearn.device import torch_device
from robolearn.errors import UserError


def test_a_processor_is_always_there():
    assert str(torch_device("cpu")) == "cpu"


@pytest.mark.parametrize("name", ["cuda:99", "warp", "meta"])
def test_what_is_not_there_is_refused_naming_what_is(name):
    with pytest.raises(UserError, match=f"no device '{name}' here; there are cpu"):
        torch_device(name)
