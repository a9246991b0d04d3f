"""A transport in another process, used as if it were here: what lets the shared tests run over a backend that allows one node a process."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import subprocess
import sys
import threading
from typing import Any

from robolearn.deploy.messages import Messages
from robolearn.deploy.transport.base import READ, WRITE, QoS, Received, Transport, TransportError
from robolearn.errors import UserError

ATTRIBUTES = ("readers", "writers", "rivals", "ready", "malformed", "cancel_requested", "goal", "name")
_PATIENCE = 20.0  # [s]
RAISED = {"TransportError": TransportError, "UserError": UserError}


class Link:
    """Calls the objects of the process at the other end, and has it call the ones here.

    Messages, their bytes and QoS are copied; callables and all other objects stay where they are, and are called there.
    """

    def __init__(self, reader: Any, writer: Any, root: Any = None) -> None:
        self.messages, self.prefix = Messages(), ""
        self._reader, self._writer = reader, writer
        self._objects: dict[int, Any] = {0: root}
        self._numbers = itertools.count(1)
        self._waiting: dict[int, list[Any]] = {}
        self._lock = threading.Lock()

    def call(self, target: int, name: str, *arguments: Any) -> Any:
        number, came = next(self._numbers), threading.Event()
        self._waiting[number] = slot = [came]
        self._write({"call": number, "target": target, "name": name, "arguments": [self._encode(value) for value in arguments]})
        if not came.wait(_PATIENCE):
            raise RuntimeError(f"the other process did not answer {name!r} within {_PATIENCE:.0f} s")
        if len(slot) == 1:
            raise RuntimeError("the other process has ended")
        answer = slot[1]
        if "raised" in answer:
            kind, text = answer["raised"]
            raise RAISED.get(kind, RuntimeError)(self.unprefixed(text))
        return self._decode(answer["value"])

    def unprefixed(self, text: str) -> str:
        """What the other end says, in this end's names."""
        return text.replace(self.prefix, "") if self.prefix else text

    def run(self) -> None:
        """Answer and hand out answers until the other end has gone."""
        for line in self._reader:
            packet = json.loads(line)
            if "call" in packet:
                threading.Thread(target=self._serve, args=(packet,), daemon=True).start()
            else:
                slot = self._waiting.pop(packet["answer"])
                slot.append(packet)
                slot[0].set()
        for slot in self._waiting.values():
            slot[0].set()

    def _serve(self, packet: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"answer": packet["call"]}
        try:
            value = self._objects[packet["target"]]
            value = value if packet["name"] == "" else getattr(value, packet["name"])
            if packet["name"] not in ATTRIBUTES:
                value = value(*[self._decode(argument) for argument in packet["arguments"]])
            answer["value"] = self._encode(value)
        except Exception as error:
            answer["raised"] = [type(error).__name__, str(error)]
        self._write(answer)

    def _write(self, packet: dict[str, Any]) -> None:
        with self._lock:
            self._writer.write(json.dumps(packet) + "\n")
            self._writer.flush()

    def _encode(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, (list, tuple)):
            return [self._encode(item) for item in value]
        if isinstance(value, bytes):
            return {"bytes": base64.b64encode(value).decode()}
        if isinstance(value, QoS):
            return {"qos": [value.reliability, value.durability, value.depth]}
        if isinstance(value, Received):
            fields = (value.topic, value.type, value.message, value.raw, value.received)
            return {"received": [self._encode(field) for field in fields]}
        if hasattr(value, "__msgtype__"):
            return {"message": value.__msgtype__, "cdr": base64.b64encode(self.messages.encode(value)).decode()}
        number = next(self._numbers)
        self._objects[number] = value
        return {"object": number}

    def _decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "bytes" in value:
            return base64.b64decode(value["bytes"])
        if "qos" in value:
            return QoS(*value["qos"])
        if "received" in value:
            return Received(*self._decode(value["received"]))
        if "message" in value:
            return self.messages.decode(value["message"], base64.b64decode(value["cdr"]))
        return There(self, value["object"])


class There:
    """An object in the other process."""

    def __init__(self, link: Link, number: int) -> None:
        self._link, self._number = link, number

    def __call__(self, *arguments: Any) -> Any:
        return self._link.call(self._number, "", *arguments)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ATTRIBUTES:
            return self._link.call(self._number, name)
        return lambda *arguments, **named: self._link.call(self._number, name, *arguments, *named.values())


class Remote(Transport):
    """A transport that lives in another process; tests take turns with it, each with names of its own.

    Args:
        command: starts the process, which runs :func:`serve_transport`.
        environment: of the process.
    """

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._link = Link(self._process.stdout, self._process.stdin)
        self._thread = threading.Thread(target=self._link.run, daemon=True)
        self._thread.start()
        self.messages, self.is_closed = self._link.messages, False

    @property
    def name(self) -> str:
        return self._ask("name")

    def begin(self, prefix: str) -> None:
        """Have all names begin with this from now on, and let nobody here see it."""
        self._link.prefix = prefix

    def _ask(self, name: str, *arguments: Any) -> Any:
        return self._link.call(0, name, *arguments)

    def subscribe(self, topic, type, callback, qos=READ):
        def unprefixed(received):
            callback(dataclasses.replace(received, topic=topic))

        return self._ask("subscribe", self._link.prefix + topic, type, unprefixed, qos)

    def publisher(self, topic, type, qos=WRITE):
        return self._ask("publisher", self._link.prefix + topic, type, qos)

    def serve(self, service, type, handler):
        self._ask("serve", self._link.prefix + service, type, handler)

    def client(self, service, type):
        return self._ask("client", self._link.prefix + service, type)

    def serve_action(self, action, type, accept, execute):
        self._ask("serve_action", self._link.prefix + action, type, accept, execute)

    def action_client(self, action, type):
        return self._ask("action_client", self._link.prefix + action, type)

    def now(self):
        return self._ask("now")

    def diagnostics(self):
        return [self._link.unprefixed(line) for line in self._ask("diagnostics")]

    def close(self):
        """Close the transport there; the process lives on, to say what a closed transport says."""
        self._ask("close")
        self.is_closed = True

    def end(self):
        """End the process; gives its exit code."""
        self._process.stdin.close()
        try:
            return self._process.wait(15)
        finally:
            self._process.kill()
            self._thread.join()
            self._process.stdout.close()


def serve_transport(transport: Transport) -> None:
    """What the process does until its input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    Link(sys.stdin, answers, transport).run()
    transport.close()


if __name__ == "__main__":
    from robolearn.deploy.transport.rospy_transport import Rospy

    serve_transport(Rospy("remote", timeout=20.0))
