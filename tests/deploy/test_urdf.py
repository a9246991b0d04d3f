"""Arms are read out of robot descriptions, and what no arm can be read out of is said plainly."""

import math

import numpy as np
import pytest

from robolearn.deploy.kinematics import Chain
from robolearn.deploy.robots.universal import JOINTS, ur_chain
from robolearn.deploy.urdf import limits_from_urdf
from robolearn.errors import UserError

DH = ((0.1625, 0, math.pi / 2), (0, -0.425, 0), (0, -0.3922, 0), (0.1333, 0, math.pi / 2), (0.0997, 0, -math.pi / 2), (0.0996, 0, 0))


def joint(name, kind, parent, child, xyz=(0, 0, 0), rpy=(0, 0, 0), inner=""):
    origin = f'<origin xyz="{xyz[0]} {xyz[1]} {xyz[2]}" rpy="{rpy[0]} {rpy[1]} {rpy[2]}"/>'
    links = f'<parent link="{parent}"/><child link="{child}"/><axis xyz="0 0 1"/>'
    return f'<joint name="{name}" type="{kind}">{origin}{links}{inner}</joint>'


def ur_joints():
    """A UR5e: each link's fixed offset as a joint of its own behind the turning one."""
    limit, parts, parent = '<limit lower="-6.28" upper="6.28" velocity="3.14" effort="1"/>', [], "base"
    for index, (name, (d, a, alpha)) in enumerate(zip(JOINTS, DH, strict=True)):
        parts.append(joint(name, "revolute", parent, f"turned{index}", inner=limit))
        parts.append(joint(f"fixed{index}", "fixed", f"turned{index}", f"link{index}", (a, 0, d), (alpha, 0, 0)))
        parent = f"link{index}"
    return parts


def write(folder, parts, head="", tag="robot"):
    path = folder / "robot.urdf"
    path.write_text(f'<?xml version="1.0"?>{head}<{tag} name="test">{"".join(parts)}</{tag}>')
    return path


def test_a_described_arm_moves_as_its_published_parameters_say(tmp_path):
    chain = Chain.from_urdf(write(tmp_path, ur_joints()), "base", "link5")
    assert chain.names == JOINTS
    np.testing.assert_allclose(chain.upper, 6.28)
    for joints in np.random.default_rng(0).uniform(-3, 3, (10, 6)):
        for described, published in zip(chain.forward(joints), ur_chain("ur5e").forward(joints), strict=True):
            np.testing.assert_allclose(described, published, atol=1e-12)


def test_limits_are_the_descriptions_with_margins(tmp_path):
    limits = limits_from_urdf(write(tmp_path, ur_joints()), "base", "link5", acceleration=4.0, rates=0.5, inset=0.1)
    np.testing.assert_allclose(limits.upper, 6.18)
    np.testing.assert_allclose(limits.velocity, 1.57)
    assert limits.acceleration == (4.0,) * 6
    lacking = [joint("j", "continuous", "base", "tip")]
    with pytest.raises(UserError, match="no velocity limit for j"):
        limits_from_urdf(write(tmp_path, lacking), "base", "tip")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (joint("slide", "prismatic", "link5", "tip"), "'slide'.*prismatic; only turning and fixed"),
        (joint("float", "floating", "link5", "tip"), "floating"),
        (joint("copy", "revolute", "link5", "tip", inner='<mimic joint="elbow_joint"/>'), "mimics 'elbow_joint'"),
    ],
)
def test_a_joint_that_no_arm_has_is_refused_by_name(tmp_path, part, message):
    with pytest.raises(UserError, match=message):
        Chain.from_urdf(write(tmp_path, [*ur_joints(), part]), "base", "tip")


def test_a_wrong_link_names_the_nearest(tmp_path):
    path = write(tmp_path, ur_joints())
    with pytest.raises(UserError, match=r"no link 'link55'.*did you mean 'link5'"):
        Chain.from_urdf(path, "base", "link55")
    with pytest.raises(UserError, match="'base' does not hang from 'link5'"):
        Chain.from_urdf(path, "link5", "base")
    with pytest.raises(UserError, match="no joint turns"):
        Chain.from_urdf(path, "turned1", "link1")


def test_files_that_are_no_descriptions_are_refused(tmp_path):
    with pytest.raises(UserError, match="no robot description"):
        Chain.from_urdf(tmp_path / "absent.urdf", "base", "tip")
    with pytest.raises(UserError, match="document type or entities"):
        Chain.from_urdf(write(tmp_path, ur_joints(), '<!DOCTYPE r [<!ENTITY a "aaaa">]>'), "base", "link5")
    with pytest.raises(UserError, match="not <robot>"):
        Chain.from_urdf(write(tmp_path, ur_joints(), tag="sdf"), "base", "link5")
    (tmp_path / "torn.urdf").write_text("<robot><joint")
    with pytest.raises(UserError, match="no XML"):
        Chain.from_urdf(tmp_path / "torn.urdf", "base", "link5")
    bad = joint("j", "revolute", "base", "tip").replace('xyz="0 0 0"', 'xyz="0 nan 0"')
    with pytest.raises(UserError, match="three finite numbers"):
        Chain.from_urdf(write(tmp_path, [bad]), "base", "tip")


def test_links_in_a_circle_do_not_hang(tmp_path):
    parts = [joint("a", "revolute", "one", "two"), joint("b", "revolute", "two", "one"), joint("c", "fixed", "zero", "three")]
    with pytest.raises(UserError, match="does not hang"):
        Chain.from_urdf(write(tmp_path, parts), "zero", "two")
