"""Where fields lie within MuJoCo's C structures, found by looking: compiled code reads them there, Python's bindings do not say."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from robolearn.sim.headless import mujoco

_REACH = 1 << 20  # [bytes] the structures are smaller: MjData's statistics of its solver take most of it
_WORD = 8

# Two worlds in which no two fields that could be taken for one another have the same address or value.
_PROBES = (
    '<mujoco><size nuserdata="1021"/><custom><numeric name="a" size="511" data="1"/></custom><worldbody><body><joint name="j"/>'
    '<geom size=".1"/><site/></body></worldbody><actuator><motor joint="j"/></actuator></mujoco>',
    '<mujoco><size nuserdata="2039"/><custom><numeric name="a" size="257" data="1"/><numeric name="b" size="2" data="1"/>'
    '<text name="c" data="d"/></custom><worldbody><body mocap="true"><geom size=".1"/></body><body><joint name="j"/>'
    '<geom size=".1"/><site name="s"/><body pos="0 0 1"><joint name="k" type="ball"/><geom size=".1"/></body></body></worldbody>'
    '<equality><joint joint1="j"/></equality><tendon><fixed name="t"><joint joint="j" coef="1"/></fixed></tendon>'
    '<actuator><general joint="j" dyntype="filter" dynprm=".1"/><motor tendon="t"/></actuator>'
    '<sensor><framepos objtype="site" objname="s"/></sensor></mujoco>',
)


_OF_MODEL = ("geom_type", "geom_contype", "geom_conaffinity", "geom_aabb", "geom_margin")
_OF_DATA = (
    *("qpos", "qvel", "ctrl", "userdata", "xipos", "ximat", "xanchor", "xaxis", "geom_xpos", "geom_xmat", "site_xpos", "site_xmat"),
    *("subtree_com", "cdof", "cvel", "qfrc_bias", "qfrc_fluid", "qfrc_passive"),
)


@dataclass(frozen=True)
class Offsets:
    """Bytes from a structure's beginning to the word that holds an address, or to a count."""

    model_numeric: int
    model_numeric_count: int
    geom_type: int
    geom_contype: int
    geom_conaffinity: int
    geom_aabb: int
    geom_margin: int
    qpos: int
    qvel: int
    qfrc_bias: int
    site_xpos: int
    site_xmat: int
    xanchor: int
    xaxis: int
    mass: int
    ctrl: int
    userdata: int
    cvel: int
    cdof: int
    subtree_com: int
    xipos: int
    geom_xpos: int
    geom_xmat: int
    ximat: int
    qfrc_fluid: int
    qfrc_passive: int


@cache
def offsets() -> Offsets:
    """Those of the MuJoCo that is loaded.

    Raises:
        RuntimeError: a field is not where addresses of this kind are.
    """
    worlds = []
    for xml in _PROBES:
        model = mujoco.MjModel.from_xml_string(xml)
        worlds.append((model, mujoco.MjData(model)))
    of_data: dict[str, Callable[[Any, Any], int]] = {name: _address_of(name) for name in _OF_DATA}
    of_data["mass"] = _address_of("M")
    data = _search([data._address for _, data in worlds], {name: [find(*world) for world in worlds] for name, find in of_data.items()})
    wanted = {name: [int(getattr(model, name).ctypes.data) for model, _ in worlds] for name in _OF_MODEL}
    wanted["model_numeric"] = [int(model.numeric_data.ctypes.data) for model, _ in worlds]
    wanted["model_numeric_count"] = [len(model.numeric_data) for model, _ in worlds]
    return Offsets(**data, **_search([model._address for model, _ in worlds], wanted))


def _address_of(name: str) -> Callable[[Any, Any], int]:
    return lambda model, data: int(getattr(data, name).ctypes.data)


def _search(begins: list[int], wanted: dict[str, list[int]]) -> dict[str, int]:
    """For each name, the last place so far at which every structure holds its value; nothing is read beyond the last name's."""
    found: dict[str, int] = {}
    for place in range(0, _REACH, _WORD):
        words = [ctypes.c_uint64.from_address(begin + place).value for begin in begins]
        for name, values in wanted.items():
            if words == values:
                found[name] = place
        if len(found) == len(wanted):
            return found
    raise RuntimeError(f"MuJoCo {mujoco.__version__} keeps {sorted(set(wanted) - set(found))} elsewhere than in its structures")
