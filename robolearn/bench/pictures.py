"""Camera pictures to measure with: a moving, textured scene with sensor noise, which costs a codec what a real camera's do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NOISE = 1.2  # standard deviation of a sensor's noise, in grey levels
_ROUGHNESS = 1.7  # amplitude falls as frequency to this power: 1 is a meadow, 2 is mist
_BANKS = 8  # different pictures of noise
_DRIFT = (0.7, 1.9)  # how fast the camera moves [pixels a frame]


class MovingScene:
    """Pictures ``(height, width, 3)`` uint8, each another, drawn in a fraction of a millisecond.

    The scene is noise whose amplitude falls with frequency, as natural pictures' does, over which the camera wanders; a sensor's
    noise lies on it. JPEG of quality 95 makes 29 kB of a picture of 240 x 320, at 44 dB; of those of a real robot (the LeRobot
    data set in the fixtures) 30 kB, at 45 dB.

    Args:
        height: pixels.
        width: pixels.
        seed: of the scene.
    """

    def __init__(self, height: int = 240, width: int = 320, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._height, self._width = height, width
        self._span = np.array([height, width]) // 2
        rows, columns = height + int(self._span[0]), width + int(self._span[1])
        frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None])
        frequency[0, 0] = np.inf
        waves = rng.standard_normal((3, *frequency.shape)) + 1j * rng.standard_normal((3, *frequency.shape))
        texture = np.fft.irfft2(waves / frequency**_ROUGHNESS, s=(rows, columns))  # (3, rows, columns)
        grey = texture[:1] + 0.3 * texture  # colours go together
        scene = 128 + 45 * grey / grey.std()
        self._scene = np.clip(scene.transpose(1, 2, 0), 8, 247).astype(np.int16)
        self._noise = np.rint(_NOISE * rng.standard_normal((_BANKS, height, width, 1))).astype(np.int16)

    def picture(self, number: int) -> NDArray[np.uint8]:
        """Picture ``number`` of the sequence, always the same for a number."""
        phase = number * np.array(_DRIFT) / self._span
        top, left = np.rint((0.5 - 0.5 * np.cos(phase)) * (self._span - 1)).astype(int)
        view = self._scene[top : top + self._height, left : left + self._width]
        picture: NDArray[np.uint8] = (view + self._noise[number * 5 % _BANKS]).astype(np.uint8)
        return picture
