"""Which devices torch has here."""

from __future__ import annotations

import torch

from robolearn.errors import UserError


def torch_device(name: str) -> torch.device:
    """A device that exists.

    Raises:
        UserError: it does not; the message names those that do.
    """
    present = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or (str(device) not in present and not (name == "cuda" and len(present) > 1)):
        raise UserError(f"no device {name!r} here; there are {', '.join(present)}")
    return device
