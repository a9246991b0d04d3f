"""The command ``robolearn serve``: reads its options, holds the checkpoints ready for the handshake, and runs the server."""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from robolearn.checkpoint import Checkpoint, open_checkpoint, read_keys
from robolearn.deploy.serving.model import ServedModel
from robolearn.deploy.serving.server import PolicyServer, Settings, until_signal
from robolearn.errors import UserError, check_positive
from robolearn.learning.interrupt import Terminated
from robolearn.nodes import instantiate, to_dict
from robolearn.spec import EnvSpec

TOKEN = "ROBOLEARN_TOKEN"  # environment variable; words of a command line can be read by everyone on the machine
CHECKPOINTS = ("checkpoint", "critic")  # options of the policy that name one
OF_POLICY = (*CHECKPOINTS, "candidates", "strength", "guidance")  # options of the verb that are the policy's
PARENT_S = 0.25  # [s] between looks at who the parent is


def main(cfg: DictConfig) -> None:
    """``robolearn serve``.

    Raises:
        UserError: a checkpoint is missing or damaged, an option is wrong, or the address cannot be had.
        KeyboardInterrupt: Ctrl-C or SIGTERM ended it, all connections closed.
    """
    options = to_dict(cfg)
    if options["parent"] is not None:
        follow(int(options["parent"]))
    check_positive(steering_budget_ms=options["steering_budget_ms"], threads=options["threads"])
    settings = Settings(
        host=str(options["host"]),
        port=int(options["port"]),
        token=str(options["token"] or "") or os.environ.get(TOKEN) or None,
        insecure=bool(options["insecure"]),
        max_message_mb=options["max_message_mb"],
        max_connections=int(options["max_connections"]),
        request_timeout=options["request_timeout_s"],
    )
    options["policy"] |= {name: options[name] for name in OF_POLICY if options[name] is not None}
    opened = {name: open_checkpoint(str(options["policy"][name])) for name in CHECKPOINTS if options["policy"].get(name)}
    server = PolicyServer(settings, lambda robot: check_robot(robot, opened), lambda: load(options, opened))
    number = until_signal(server, lambda url: announce(url, server, opened, bool(options["json"])))
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def check_robot(robot: EnvSpec, opened: Mapping[str, Checkpoint]) -> None:
    """Raise ``UserError`` unless every checkpoint can act for the robot, as far as their words tell; no weights are read."""
    for name, checkpoint in opened.items():
        try:
            robot.check_serves(checkpoint.env_spec, read_keys(checkpoint.config))
        except UserError as error:
            raise UserError(f"{name} {checkpoint.path}: {error}") from error


def load(options: Mapping[str, Any], opened: Mapping[str, Checkpoint]) -> ServedModel:
    """Build the policy of one row and warm it up."""
    import torch  # only here: whoever imports this module for its words need not have it

    torch.set_num_threads(int(options["threads"]))
    policy = instantiate(options["policy"], num_envs=1)
    budget = options["steering_budget_ms"]
    name = ", ".join(checkpoint.fingerprint() for checkpoint in opened.values())
    model = ServedModel(policy, name, None if budget is None else float(budget) / 1000)
    gc.collect()
    gc.freeze()  # what torch brought stays: walking it would cost some request tens of milliseconds
    return model


def announce(url: str, server: PolicyServer, opened: Mapping[str, Checkpoint], as_json: bool) -> None:
    """Say where the server is, in one line."""
    assert server.model is not None
    health = url.replace("ws://", "http://") + "/healthz"
    if as_json:
        line = json.dumps({"url": url, "healthz": health, "model": server.model.name, "pid": os.getpid()})
    else:
        line = f"serving {opened['checkpoint'].path} at {url}; health: {health}; Ctrl-C ends it"
    print(line, flush=True)


def follow(parent: int) -> None:
    """End this process when ``parent`` is no longer its parent: asked to at first, then at once."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_S)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(8 * PARENT_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
