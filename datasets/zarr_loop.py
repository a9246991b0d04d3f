"""Zarr's event loop at the end of a process: it is waited for.

Zarr 3.1 gives its thread a fifth of a second to stop and then closes the loop that still runs, which a busy machine answers with a
traceback behind a command's outcome.
"""

from __future__ import annotations

import atexit

from zarr.core import sync

_PATIENCE = 30.0  # [s]


def wait_at_exit() -> None:
    """From now on, before zarr closes its loop, wait until that has stopped."""
    atexit.register(_stop)  # later than zarr's own, which ran when it was imported: so it is called before


def _stop() -> None:
    loop, thread = sync.loop[0], sync.iothread[0]
    if loop is not None and thread is not None and thread.is_alive():
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_PATIENCE)
