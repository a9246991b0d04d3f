"""``robolearn data view``: a page in the browser that shows a store's episodes and takes marks on them."""

from __future__ import annotations

import ipaddress
import json
import sys
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from robolearn.datasets.layout import SIM_STATE, StoreError
from robolearn.datasets.reader import StoreReader
from robolearn.datasets.store import DemoStore
from robolearn.datasets.view.content import Content
from robolearn.datasets.view.drawing import Drawing
from robolearn.datasets.view.pictures import picture_size
from robolearn.datasets.view.saving import Saver
from robolearn.datasets.view.server import Pages, Server
from robolearn.learning.interrupt import Terminated
from robolearn.nodes import instantiate, to_dict


@dataclass(frozen=True)
class Viewer:
    """A page that is being served.

    Args:
        address: what to open; it holds a secret.
        saver: makes new stores.
        server: stops with ``shutdown()``.
    """

    address: str
    saver: Saver
    server: Server


def main(cfg: DictConfig) -> int:
    """``robolearn data view``: serve until interrupted.

    Raises:
        UserError: the store cannot be read, or the address cannot be listened at.
    """
    options = to_dict(cfg)
    store = DemoStore.open(options["store"])
    if not store.num_episodes:
        raise StoreError(f"{store.path} holds no episodes to view")
    width, height = picture_size(options["size"])
    folder = Path(options["folder"]) if options["folder"] is not None else Path(options["store"]).resolve().parent
    node = dict(options["task"].get("pictures") or {}) | {"width": width, "height": height}
    with serving(store, folder, node, str(options["host"]), int(options["port"])) as viewer:
        _announce(viewer, str(options["store"]), options)
        try:
            viewer.server.serve_forever()
        except Terminated:
            raise
        except KeyboardInterrupt:
            if viewer.saver.facts()["state"] == "running":
                print("finishing the store that is being saved", file=sys.stderr)
    return 0


@contextmanager
def serving(store: StoreReader, folder: Path, pictures: dict[str, Any], host: str = "127.0.0.1", port: int = 0) -> Iterator[Viewer]:
    """A server of a store's page, bound and ready; the caller runs ``serve_forever``.

    Args:
        store: open for reading.
        folder: where new stores go.
        pictures: the node of what draws simulator states; without a target nothing is drawn.
        host: address to listen at.
        port: 0 takes a free one.
    """
    saver = Saver(store, folder)
    drawing = None
    state = _first_state(store)
    if state is not None and "_target_" in pictures:
        drawing = Drawing(lambda: instantiate(pictures), state)
    try:
        server = Server(Pages(Content(store, drawing), saver), host, port)
        try:
            yield Viewer(server.guard.address, saver, server)
        finally:
            server.server_close()
    finally:
        saver.wait()
        if drawing is not None:
            drawing.close()


def _first_state(store: StoreReader) -> Any:
    """A simulator state of the store, where it has any."""
    if SIM_STATE not in store.array_names:
        return None
    for start in store.starts:
        state = store.array(SIM_STATE, int(start), int(start) + 1)[0]
        if not np.isnan(state).all():
            return state
    return None


def _announce(viewer: Viewer, store: str, options: dict[str, Any]) -> None:
    if not _is_loopback(str(options["host"])):
        print(f"warning: everybody who reaches this machine at {options['host']} and knows the address can see {store}", file=sys.stderr)
    if options["json"]:
        print(json.dumps({"store": store, "address": viewer.address}), flush=True)
    else:
        print(
            f"{store} is shown at\n\n  {viewer.address}\n\nCtrl-C stops. The store itself never changes: saving makes a new one.",
            flush=True,
        )
    if options["browser"]:
        threading.Thread(target=webbrowser.open, args=(viewer.address,), daemon=True).start()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
