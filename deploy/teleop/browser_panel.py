"""The page's panel: a banner that can be read from across the room, counters, buttons with their keys, and the cameras' pictures."""

from __future__ import annotations

import base64
import html
import io
import math
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.learning.session import Status


@dataclass(frozen=True)
class Button:
    """One button.

    Args:
        word: what is reported when it is pressed.
        label: on it.
        key: that does the same.
        icon: viser's name of its picture.
        color: viser's.
        hint: shown when the mouse is over it.
    """

    word: str
    label: str
    key: str
    icon: str
    color: str
    hint: str


RECORD = Button("record", "Record", "R", "PLAYER_RECORD", "red", "begin an episode, from its start")
GRIPPER = Button("gripper", "Close the gripper", "G", "HAND_GRAB", "blue", "close or open the fingers")
FINE = Button("fine", "Fine motion: off", "V", "ZOOM_IN", "gray", "the tool goes a fifth of the handle's way")
LABELS = (
    Button("success", "Save: success", "S", "CHECK", "green", "end the episode, and keep it as solved"),
    Button("failure", "Save: failure", "F", "X", "orange", "end the episode, and keep it as not solved"),
    Button("undo", "Undo", "U", "ARROW_BACK_UP", "gray", "take back the last steps, and the world with them"),
    Button("discard", "Discard", "D", "TRASH", "gray", "throw the episode away, and begin from the same start"),
)
PAUSE = Button("pause", "Pause", "P", "PLAYER_PAUSE", "gray", "nothing moves until it goes on")
RESET = Button("reset", "Another start", "N", "REFRESH", "gray", "throw the episode away, and go to the next start")
TAKEOVER = Button("takeover", "Take over", "T", "HAND_STOP", "violet", "act instead of the policy; so does dragging the handle")
STOP = Button("estop", "Emergency stop", "escape", "ALERT_OCTAGON", "red", "stop at once; rearm, then resume")

_LOOKS = {  # colour of the banner and its words, by what is going on
    "recording": ("#e03131", "Recording"),
    "policy": ("#7048e8", "Recording: the policy acts"),
    "takeover": ("#e03131", "Recording: you act"),
    "ready": ("#495057", "Ready"),
    "paused": ("#f08c00", "Paused"),
    "stopped": ("#e03131", "Stopped"),
    "solved": ("#2f9e44", "Solved: save it?"),
    "over": ("#f08c00", "Over: save it?"),
}


class Panel:
    """Makes the panel in a ``viser.ViserServer`` and keeps it up to date.

    Args:
        server: the server.
        pressed: called as ``pressed(word, client id)`` in viser's thread.
        emergency: a robot's page: with an emergency stop, and nothing that takes back what was done.
    """

    def __init__(self, server: Any, pressed: Callable[[str, int], None], *, emergency: bool = False) -> None:
        self._server, self._pressed = server, pressed
        self._words: dict[str, str] = {}  # what a button reports now, by what it reported at first
        self._buttons: dict[str, Any] = {}
        self._images: dict[str, Any] = {}
        self._sounded: tuple[Any, ...] = ()
        gui = server.gui
        gui.configure_theme(show_logo=False, show_share_button=False, brand_color=(34, 139, 230), control_width="medium")
        gui.set_panel_label("robolearn")
        self._banner, self._counters = gui.add_html(""), gui.add_html("")
        self._sound = gui.add_html("")
        self._add(RECORD)
        self._add(GRIPPER)
        self._add(FINE)
        gui.add_divider()
        for button in LABELS:
            if not (emergency and button.word == "undo"):
                self._add(button)
        gui.add_divider()
        for button in (TAKEOVER, PAUSE, RESET, *([STOP] if emergency else [])):
            self._add(button)
        self._pictures = gui.add_folder("Cameras", visible=False)
        self._last: tuple[Any, ...] = ()

    def show(self, status: Status, *, closed: bool) -> None:
        """Bring everything up to the status; ``closed``: the gripper is told to be."""
        shown = (status.phase, status.paused, status.actor, status.message, status.solved, status.has_policy, closed)
        counted = (status.task, status.episodes, status.wanted, status.successes, status.steps, round(status.seconds, 1))
        if (*shown, *counted) == self._last:
            return
        if shown != self._last[: len(shown)]:
            self._show_buttons(status, closed)
            self._banner.content = banner(status)
            self._beep(status)
        self._counters.content = counters(status)
        self._last = (*shown, *counted)

    def show_fine(self, fine: bool) -> None:
        """Whether motion is fine now."""
        self._buttons["fine"].label = f"Fine motion: {'on' if fine else 'off'} ({FINE.key})"
        self._buttons["fine"].color = "blue" if fine else "gray"

    def draw(self, pictures: Mapping[str, NDArray[np.uint8]]) -> None:
        """The cameras' pictures, ``{name: (height, width, 3)}``."""
        self._pictures.visible = True
        for name, picture in abreast(pictures).items():
            if name in self._images:
                self._images[name].image = picture
            else:
                with self._pictures:
                    self._images[name] = self._server.gui.add_image(picture, label=name, format="jpeg", jpeg_quality=80)

    def _add(self, button: Button) -> None:
        import viser

        icon, key = getattr(viser.Icon, button.icon), button.key.capitalize()
        label = f"{button.label} ({'Esc' if button.key == 'escape' else key})"
        shown = self._server.gui.add_button(label, color=button.color, icon=icon, hint=button.hint)
        hotkey = button.key if button.key == "escape" else button.key.upper()
        command = self._server.gui.add_command(button.label, description=button.hint, hotkey=hotkey, icon=icon)

        async def press(event: Any) -> None:
            self._pressed(self._words[button.word], event.client_id)

        shown.on_click(press)
        command.on_trigger(press)
        self._words[button.word], self._buttons[button.word] = button.word, shown

    def _show_buttons(self, status: Status, closed: bool) -> None:
        import viser

        at_hand, buttons, words = status.phase != "ready", self._buttons, self._words
        buttons["record"].disabled = at_hand
        for word in {"success", "failure", "undo", "discard"} & buttons.keys():
            buttons[word].disabled = not at_hand
        buttons["gripper"].label = f"{'Open' if closed else 'Close'} the gripper ({GRIPPER.key})"
        buttons["takeover"].visible = status.has_policy
        buttons["takeover"].disabled = status.phase != "recording"
        acts = status.has_policy and status.actor == "operator" and at_hand
        words["takeover"] = "release" if acts else "takeover"
        buttons["takeover"].label = f"{'Hand back to the policy' if acts else 'Take over'} ({TAKEOVER.key})"
        words["pause"] = "resume" if status.paused else "pause"
        buttons["pause"].label = f"{'Resume' if status.paused else 'Pause'} ({PAUSE.key})"
        buttons["pause"].icon = viser.Icon.PLAYER_PLAY if status.paused else viser.Icon.PLAYER_PAUSE
        if "estop" in buttons:
            stopped = look_of(status) == "stopped"
            words["estop"] = "rearm" if stopped else "estop"
            buttons["estop"].label = "Rearm (Esc)" if stopped else "Emergency stop (Esc)"

    def _beep(self, status: Status) -> None:
        """A high beep when a recording begins, a lower one when it ends."""
        now = (status.phase,)
        if self._sounded and now != self._sounded:
            tone = {"recording": 880.0, "ended": 660.0, "ready": 440.0}[status.phase]
            self._sound.content = f'<audio autoplay src="data:audio/wav;base64,{beep(tone)}"></audio>'
        self._sounded = now


def abreast(pictures: Mapping[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.uint8]]:
    """Two pictures of one height side by side, so that both are seen; of others each for itself."""
    heights = {picture.shape[0] for picture in pictures.values()}
    if len(pictures) != 2 or len(heights) != 1:
        return dict(pictures)
    return {", ".join(pictures): np.concatenate(list(pictures.values()), axis=1)}


def look_of(status: Status) -> str:
    """The word for what is going on, which the banner's look depends on."""
    if status.phase == "ended":
        return "solved" if status.solved else "over"
    if status.paused:
        return "stopped" if status.paused.startswith("emergency") else "paused"
    if status.phase == "recording" and status.has_policy:
        return "policy" if status.actor == "policy" else "takeover"
    return status.phase


def banner(status: Status) -> str:
    """The banner, and a frame of its colour around the window while it is recorded."""
    look = look_of(status)
    color, words = _LOOKS[look]
    said = status.paused or status.message or {"ready": "drag the handle to try; Record begins an episode"}.get(look, "")
    records = status.phase == "recording" and not status.paused
    dot = "&#9679; " if records else ""
    frame = f'<div style="position:fixed;inset:0;border:5px solid {color};pointer-events:none;z-index:999;"></div>' if records else ""
    return (
        f'{frame}<div data-look="{look}" style="background:{color};color:white;border-radius:6px;padding:10px 12px;margin:2px 10px 8px;'
        f'font-family:Inter,sans-serif;"><div style="font-size:19px;font-weight:700;line-height:1.25;">{dot}{words}</div>'
        f'<div style="font-size:12.5px;min-height:17px;opacity:.95;">{html.escape(said)}</div></div>'
    )


def counters(status: Status) -> str:
    """What there is so far, as a small table."""
    cells = (
        ("saved", f"{status.episodes} of {status.wanted}"),
        ("solved", str(status.successes)),
        ("an hour", f"{status.rate:.0f}" if status.episodes else "&ndash;"),
        ("steps", str(status.steps)),
        ("seconds", f"{status.seconds:.1f}"),
    )
    columns = "".join(
        f'<div style="flex:1;text-align:center;"><div data-counter="{name}" style="font-size:16px;font-weight:600;'
        f'font-variant-numeric:tabular-nums;white-space:nowrap;">{value}</div>'
        f'<div style="font-size:11px;color:#868e96;">{name}</div></div>'
        for name, value in cells
    )
    title = f'<div style="font-size:12px;color:#868e96;text-align:center;margin-bottom:4px;">{html.escape(status.task)}</div>'
    return f'<div style="margin:0 10px 8px;font-family:Inter,sans-serif;">{title}<div style="display:flex;gap:4px;">{columns}</div></div>'


def beep(frequency: float, seconds: float = 0.12, rate: int = 8000) -> str:
    """A short tone [Hz] as a WAV file in base64."""
    time = np.arange(int(seconds * rate)) / rate
    swell = np.minimum(1.0, np.minimum(time, seconds - time) / 0.01)  # no clicks
    samples = (128 + 90 * swell * np.sin(2 * math.pi * frequency * time)).astype(np.uint8)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(1)
        writer.setframerate(rate)
        writer.writeframes(samples.tobytes())
    return base64.b64encode(file.getvalue()).decode()
