"""robosuite's TwoArmTransport: one arm takes the hammer out of a lidded bin and hands it over; the other clears its bin first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from robolearn.sim.robosuite.scene import Contacts
from robolearn.sim.robosuite.task import Judgement, Task, stack_stages
from robolearn.sim.robosuite.view import Array, xyzw

_LIFTED = 0.1  # [m] above the tables
_HANDLE = "transport_start_bin_lid_handle"


class TwoArmTransport(Task):
    """Two arms, facing each other."""

    parts: ClassVar[Mapping[str, str]] = {
        "payload": "payload_root",
        "trash": "trash_main",
        "start_bin": "transport_start_bin_root",
        "target_bin": "transport_target_bin_root",
        "trash_bin": "transport_trash_bin_root",
        "lid": "transport_start_bin_lid_root",
    }
    contacts: ClassVar[Contacts] = {
        "payload": [("transport_target_bin_base", "payload_root")],
        "trash": [("transport_trash_bin_base", "trash_main")],
    }

    ordered = False  # each arm has its own bin to see to

    def judge(self) -> Judgement:
        """Reward: 1 when the hammer is in the target bin and the trash in its own; robosuite has no shaping."""
        payload, trash = self.view.touching("payload"), self.view.touching("trash")
        success = payload & trash
        lifted = self.view.body("payload_root")[0][:, 2] > self.host.table_offsets[0, 2] + _LIFTED
        reward = success.astype(float)
        return Judgement(success, reward, reward, stack_stages(lifted, trash, payload))

    def objects(self) -> Array:
        """Poses of hammer, trash and lid's handle, places of two bins, both checks, then what each gripper is to reach."""
        view = self.view
        (payload, turned), (trash, fallen) = view.body("payload_root"), view.body("trash_main")
        lid = view.geom(_HANDLE)
        poses = [payload, _positive(turned), trash, _positive(fallen), lid, xyzw(view.geom_quaternion(_HANDLE))]
        bins = [view.geom("transport_target_bin_base"), view.geom("transport_trash_bin_base")]
        checks = [view.touching(name)[:, None] for name in ("payload", "trash")]
        left, right = view.tool(0), view.tool(1)
        return np.concatenate([*poses, *bins, *checks, payload - left, lid - left, payload - right, trash - right], 1)


def _positive(quaternion: Array) -> Array:
    """``(N, 4)`` wxyz as robosuite makes it of a matrix: xyzw, w not negative."""
    return xyzw(np.where(quaternion[:, :1] < 0, -quaternion, quaternion))
