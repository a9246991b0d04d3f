"""The engine protocol on MuJoCo Warp: N rows on a GPU (or, to check it, on the processor), in float32."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import mujoco_warp
import numpy as np
import warp as wp
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.sim.engine import Engine
from robolearn.sim.headless import mujoco
from robolearn.sim.warp_kernels import note_overflow, pass_on, spring_torque
from robolearn.sim.warp_servo import TORQUE, Servo, without_orientation

wp.config.log_level = wp.LOG_ERROR  # stdout is the caller's
CONTACTS, CONSTRAINTS = 192, 768  # room for each row
_STATE = mujoco.mjtState.mjSTATE_INTEGRATION.value
_CTRL = mujoco.mjtState.mjSTATE_CTRL.value
_WITHOUT_CTRL = _STATE & ~_CTRL & ~mujoco.mjtState.mjSTATE_PLUGIN.value
_LARGEST = 1e6  # as in robolearn.sim.engine
Array = NDArray[np.float64]


class WarpEngine:
    """See :class:`robolearn.sim.engines.PhysicsEngine`.

    A call sends the commands to the device, and the states where the caller wrote into them; there all substeps run as one graph; back
    come states and outputs in one piece. Parts do not sleep.

    Args:
        model: the compiled scene.
        mjcf: what it was compiled from.
        num_envs: rows N.
        device: ``cpu``, ``cuda:0``, ...; Warp's own choice unless given.

    Raises:
        UserError: no such device, or the scene has something that MuJoCo Warp lacks.
    """

    def __init__(self, model: mujoco.MjModel, mjcf: ET.Element, num_envs: int, device: str = "") -> None:
        self.model, self._rows = model, num_envs
        self.device = _device(device)
        self._one = Engine(model, 1, 1)  # knows the layout of MuJoCo's states and fields
        self._host = np.repeat(self._one.state, num_envs, 0)
        self._ctrl = slice(self._one.offset("ctrl"), self._one.offset("ctrl") + model.nu)
        self._views: dict[str, NDArray[Any]] = {}
        self._outputs: dict[str, Array] = {}
        self._expanded: dict[str, NDArray[Any]] = {}
        self._graphs: dict[int, Any] = {}  # by substeps
        self._short = np.zeros(num_envs, bool)
        root, servos = without_orientation(mjcf)
        compiled = mujoco.MjModel.from_xml_string(ET.tostring(root, encoding="unicode"))
        compiled.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)  # it resets nothing by itself
        compiled.opt.enableflags &= ~int(mujoco.mjtEnableBit.mjENBL_SLEEP)
        with wp.ScopedDevice(self.device):
            try:
                self._model = mujoco_warp.put_model(compiled)
            except NotImplementedError as error:
                raise UserError(f"MuJoCo Warp cannot play this scene: {error}; use engine=mujoco") from error
            self._model.opt.warn_overflow = 0  # counted here, not printed
            self._model.opt.deterministic = True  # the order of contacts and of sums is fixed: a seed is an episode
            self._data = mujoco_warp.make_data(compiled, nworld=num_envs, nconmax=CONTACTS, njmax=CONSTRAINTS)
            self._command = wp.zeros((num_envs, model.nu), dtype=float)
            self._sent = np.full((num_envs, self._host.shape[1] - model.nu), np.nan, np.float32)  # what the device's states are
            self._states = wp.zeros(self._sent.shape, dtype=float)
            self._model.callback.control = self._commander(compiled, servos)
        for name in ("site_xpos", "site_xmat", "sensordata"):
            self.view(name)

    @property
    def num_envs(self) -> int:
        """Number of rows N."""
        return self._rows

    @property
    def state(self) -> Array:
        """Integration states in MuJoCo's layout, ``(N, S)``."""
        return self._host

    def view(self, name: str) -> NDArray[Any]:
        """A live ``(N, ...)`` view of a state field, or of an output."""
        if name not in self._views:
            like = self._one.view(name)
            column, width = self._one.offset(name), like[0].size
            if 0 <= column < self._host.shape[1]:
                self._views[name] = self._host[:, column : column + width].reshape(self._rows, *like.shape[1:])
            else:
                self._views[name] = self._add_output(name, like)
        return self._views[name]

    def offset(self, name: str) -> int:
        """Column of :attr:`state` at which a state field begins."""
        return self._one.offset(name)

    def expand(self, name: str) -> NDArray[Any]:
        """Per-row values of a model field, ``(N, ...)``; they count from the next call on.

        Raises:
            UserError: MuJoCo Warp has one value of it for all rows.
        """
        if name not in self._expanded:
            field = getattr(self._model, name, None)
            if not isinstance(field, wp.array) or field.shape[0] != 1:
                raise UserError(f"MuJoCo Warp has no {name!r} for each row; use engine=mujoco")
            self._expanded[name] = np.repeat(self._one.expand(name), self._rows, 0)
            room = wp.zeros((self._rows, *field.shape[1:]), dtype=field.dtype, device=self.device)
            setattr(self._model, name, room)
            self._graphs.clear()
        return self._expanded[name]

    def step(self, substeps: int, rows: NDArray[np.bool_] | None = None) -> None:
        """Advance every row, or only ``rows (N,)``, and refresh their outputs; the others stay as they are."""
        self._send()
        self._launch(substeps)
        self._fetch(np.ones(self._rows, bool) if rows is None else rows, with_state=True)

    def forward(self, rows: NDArray[np.bool_]) -> None:
        """Refresh the outputs of ``rows``; their state stays as written, to the bit."""
        if rows.any():
            self._send()
            self._launch(0)
            self._fetch(rows, with_state=False)

    def load(self, rows: NDArray[np.bool_], state: Array) -> None:
        """Put ``rows`` into whole states ``(n, S)``; :meth:`forward` then refreshes their outputs."""
        self._host[rows] = state

    def diverged(self) -> NDArray[np.bool_]:
        """Rows that are no longer finite, absurdly large, or had more constraints than there is room for, ``(N,)``."""
        sound: NDArray[np.bool_] = (np.abs(self.view("qpos")) < _LARGEST).all(1) & (np.abs(self.view("qvel")) < _LARGEST).all(1)
        unsound: NDArray[np.bool_] = ~sound | self._short
        return unsound

    def data(self, row: int) -> mujoco.MjData:
        """One row as an MjData."""
        data = mujoco.MjData(self.model)
        mujoco.mj_setState(self.model, data, self._host[row].copy(), _STATE)
        mujoco.mj_forward(self.model, data)
        return data

    def _commander(self, compiled: mujoco.MjModel, servos: list[Servo]) -> Any:
        """What MuJoCo Warp calls in every substep: the caller's commands become those of the scene on the device."""
        columns = np.full(compiled.nu, -1, np.int32)
        springs = []
        for index in range(self.model.nactuator):
            actuator = self.model.actuator(index)
            column = int(self.model.actuator_ctrladr[index])
            servo = next((servo for servo in servos if servo.name == actuator.name), None)
            if servo is None:
                columns[compiled.actuator(actuator.name).id] = column
            else:
                sites = (compiled.site(servo.site).id, compiled.site(servo.refsite).id)
                springs.append((column, *sites, servo.stiffness, compiled.actuator(TORQUE.format(name=servo.name, axis=0)).id))
        device_columns = wp.array(columns, dtype=int)

        def control(model: Any, data: Any) -> None:
            wp.launch(pass_on, dim=(self._rows, len(columns)), inputs=[self._command, device_columns], outputs=[data.ctrl])
            for column, site, refsite, stiffness, first in springs:
                inputs = [self._command, column, data.site_xmat, site, refsite, stiffness, first]
                wp.launch(spring_torque, dim=self._rows, inputs=inputs, outputs=[data.ctrl])

        return control

    def _add_output(self, name: str, like: NDArray[Any]) -> Array:
        """Room for an output, on the device behind the states that come back, and here."""
        field = getattr(self._data, name, None)
        if not isinstance(field, wp.array) or field.shape[0] != self._rows:
            raise UserError(f"MuJoCo Warp gives no {name!r}; use engine=mujoco")
        self._outputs[name] = np.repeat(np.asarray(like, np.float64), self._rows, 0)
        width = self._sent.shape[1] + sum(values[0].size for values in self._outputs.values()) + 2
        self._packed = wp.zeros((self._rows, width), dtype=float, device=self.device)
        self._graphs.clear()
        return self._outputs[name]

    def _send(self) -> None:
        """Commands, and whatever else the caller changed since the device was heard last."""
        self._command.assign(self._host[:, self._ctrl].astype(np.float32))
        states = np.delete(self._host, self._ctrl, 1).astype(np.float32)
        if not np.array_equal(states, self._sent):
            self._states.assign(states)
            self._sent = states
        for name, values in self._expanded.items():
            getattr(self._model, name).assign(values.astype(np.float32))

    def _launch(self, substeps: int) -> None:
        with wp.ScopedDevice(self.device):
            if substeps in self._graphs:
                wp.capture_launch(self._graphs[substeps])
                return
            self._advance(substeps)
            if self.device.is_cuda:  # everything is compiled by now: the next time it is one launch
                with wp.ScopedCapture() as capture:
                    self._advance(substeps)
                self._graphs[substeps] = capture.graph

    def _advance(self, substeps: int) -> None:
        """All that happens on the device in one call; nothing in here waits for it."""
        model, data, width = self._model, self._data, self._sent.shape[1]
        short = self._packed[:, -2:]
        self._packed.zero_()
        mujoco_warp.set_state(model, data, self._states, _WITHOUT_CTRL)
        for _ in range(substeps):
            mujoco_warp.step(model, data)
            wp.launch(note_overflow, dim=self._rows, inputs=[data.nefc, data.njmax, data.nacon, data.naconmax], outputs=[short])
        mujoco_warp.step1(model, data)  # positions, velocities and sensors of the state just reached
        mujoco_warp.get_state(model, data, self._states, _WITHOUT_CTRL)
        wp.copy(self._packed[:, :width], self._states)
        for name, values in self._outputs.items():
            field, size = getattr(data, name), values[0].size
            flat = wp.array(ptr=field.ptr, dtype=float, shape=(self._rows, size), device=field.device)
            wp.copy(self._packed[:, width : width + size], flat)
            width += size

    def _fetch(self, rows: NDArray[np.bool_], with_state: bool) -> None:
        packed, width = self._packed.numpy(), self._sent.shape[1]
        self._sent = packed[:, :width].copy()
        if with_state:
            kept = np.delete(np.arange(self._host.shape[1]), self._ctrl)
            self._host[np.ix_(rows, kept)] = self._sent[rows]
        for values in self._outputs.values():
            size = values[0].size
            values[rows] = packed[rows, width : width + size].reshape(-1, *values.shape[1:])
            width += size
        self._short = rows & (packed[:, -2] > 0)
        if (packed[:, -1] > 0).any():
            raise UserError(
                f"{self._rows} worlds touch in more than {self._rows * CONTACTS} places together, for which MuJoCo Warp has no room here;"
                " use engine=mujoco"
            )


def _device(name: str) -> Any:
    try:
        return wp.get_device(name or None)
    except (ValueError, RuntimeError) as error:
        there = ", ".join(f"warp:{device.alias}" for device in wp.get_devices())
        raise UserError(f"no device {name!r} for Warp; there are {there}") from error
