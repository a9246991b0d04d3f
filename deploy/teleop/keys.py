"""What keys mean, whoever reads them: a keyboard's press and release, or a terminal's bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.teleop.velocity import FINE, GRIPPER, NEXT, PAUSE, STOP, TAKE

MOTIONS: dict[str, tuple[int, float]] = {  # axis of the base frame (0 to 2 along, 3 to 5 about it) and direction
    "up": (0, 1.0),
    "down": (0, -1.0),
    "left": (1, 1.0),
    "right": (1, -1.0),
    "page_up": (2, 1.0),
    "page_down": (2, -1.0),
    "e": (2, 1.0),
    "c": (2, -1.0),
    "u": (3, 1.0),
    "o": (3, -1.0),
    "i": (4, 1.0),
    "k": (4, -1.0),
    "j": (5, 1.0),
    "l": (5, -1.0),
}
WORDS: dict[str, str] = {
    "space": GRIPPER,
    "v": FINE,
    "enter": NEXT,
    "s": "success",
    "f": "failure",
    "backspace": "discard",
    "z": "undo",
    "p": PAUSE,
    "t": TAKE,
    "n": "reset",
    "q": "quit",
    "esc": STOP,
}
HELP = (
    "arrows: x and y; e, c or page up, down: z; j, l: yaw; i, k: pitch; u, o: roll; space: gripper; v: fine; enter: record, then save;"
    " s: success; f: failure; backspace: discard; z: undo; p: pause; t: take over; n: another start; esc: stop; q: quit"
)
_SEQUENCES = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1b[C": "right",
    b"\x1b[D": "left",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1bOC": "right",
    b"\x1bOD": "left",
    b"\x1b[5~": "page_up",
    b"\x1b[6~": "page_down",
}
_SINGLE = {b" ": "space", b"\r": "enter", b"\n": "enter", b"\x7f": "backspace", b"\x08": "backspace", b"\x1b": "esc"}


class Keys:
    """Which keys are down, and what was pressed since the last call.

    Args:
        hold: seconds for which a key counts as down that nobody says was released (a terminal's); None: until :meth:`release`.
    """

    def __init__(self, hold: float | None = None) -> None:
        self._hold_ns = None if hold is None else int(hold * 1e9)
        self._down: dict[str, int] = {}
        self._pressed: list[str] = []

    def press(self, key: str, now_ns: int) -> None:
        """A key went down, or repeats."""
        repeats = key in self._down and self._hold_ns is None
        self._down[key] = now_ns
        if key in WORDS and not repeats:
            self._pressed.append(WORDS[key])

    def release(self, key: str) -> None:
        """A key went up."""
        self._down.pop(key, None)

    def deflection(self, now_ns: int) -> NDArray[np.float64]:
        """``(6,)`` in {-1, 0, 1}."""
        deflection = np.zeros(6)
        for key, since in list(self._down.items()):
            if self._hold_ns is not None and now_ns - since > self._hold_ns:
                del self._down[key]
            elif key in MOTIONS:
                axis, direction = MOTIONS[key]
                deflection[axis] += direction
        return np.clip(deflection, -1.0, 1.0)

    def words(self) -> list[str]:
        """What was pressed since the last call."""
        pressed, self._pressed = self._pressed, []
        return pressed


def keys_of(typed: bytes) -> list[str]:
    """The keys whose bytes a terminal sent; what it does not know is left out."""
    keys: list[str] = []
    at = 0
    while at < len(typed):
        sequence = next((known for known in _SEQUENCES if typed.startswith(known, at)), None)
        if sequence is not None:
            keys.append(_SEQUENCES[sequence])
            at += len(sequence)
            continue
        one = typed[at : at + 1]
        if one == b"\x1b" and typed[at + 1 : at + 2] in (b"[", b"O"):  # another sequence: to its final byte
            end = at + 2
            while end < len(typed) and not 0x40 <= typed[end] <= 0x7E:
                end += 1
            at = end + 1
            continue
        keys += [_SINGLE[one]] if one in _SINGLE else [one.decode("ascii").lower()] if one.isalnum() else []
        at += 1
    return keys
