"""A simulated robot's cameras: pictures on a thread of their own, so that drawing never holds the physics up for long."""

from __future__ import annotations

import logging
import threading
from typing import Any

from robolearn.deploy.arms.base import stamp_of
from robolearn.deploy.transport.base import Publisher, Transport
from robolearn.errors import UserError
from robolearn.protocols import RobotWorld

log = logging.getLogger(__name__)

CAMERA_HZ = 15.0
IMAGE = "sensor_msgs/msg/Image"


def camera_topic(name: str) -> str:
    """Where a camera's pictures are sent."""
    return f"/camera/{name}/color/image_raw"


class Cameras:
    """Draws and publishes what somebody listens to; a picture that is due while the last is drawn is left out.

    Args:
        transport: where.
        world: draws.
        hz: pictures a second, of each camera.
    """

    def __init__(self, transport: Transport, world: RobotWorld, hz: float = CAMERA_HZ) -> None:
        self._world, self._new, self._period, self._due = world, transport.messages.new, round(1e9 / hz), 0
        self._publishers: dict[str, Publisher] = {name: transport.publisher(camera_topic(name), IMAGE) for name in world.cameras}
        self._scene: tuple[int, Any] | None = None
        self._wake, self._open, self.drawn, self.trouble = threading.Event(), True, 0, ""
        self._thread = threading.Thread(target=self._run, name="cameras", daemon=True) if self._publishers else None
        if self._thread is not None:
            self._thread.start()

    def offer(self, stamp: int) -> None:
        """The world is as it is at ``stamp`` [ns]: draw that, if a picture is due; does not wait."""
        if self._thread is None or self._scene is not None or stamp < self._due:
            return
        self._due = (stamp // self._period + 1) * self._period
        self._scene = stamp, self._world.scene()
        self._wake.set()

    def forget(self) -> None:
        """Draw at the next occasion."""
        self._due = 0

    def close(self) -> None:
        """Draw no more; the thread has ended when this returns."""
        self._open = False
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._open:
            self._wake.wait()
            self._wake.clear()
            if self._scene is None:
                continue
            stamp, scene = self._scene
            try:
                for name, publisher in self._publishers.items():
                    if publisher.readers:
                        publisher.publish(self._picture(name, stamp, scene))
                        self.drawn += 1
            except UserError as error:  # a slow reader, or a machine that draws nothing
                if str(error) != self.trouble:
                    log.warning("no picture: %s", error)
                self.trouble = str(error)
            finally:
                self._scene = None

    def _picture(self, name: str, stamp: int, scene: Any) -> Any:
        pixels = self._world.draw(scene, name)
        height, width = pixels.shape[:2]
        header = {"stamp": stamp_of(stamp), "frame_id": f"{name}_color_optical_frame"}
        shape = {"height": height, "width": width, "step": 3 * width, "encoding": "rgb8"}
        return self._new(IMAGE, header=header, data=pixels.reshape(-1), **shape)
