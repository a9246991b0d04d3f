"""How much the error of each channel of an action counts in a loss, by what the channel holds."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from robolearn.errors import UserError, nearest
from robolearn.spec import UNIT_SIZES, ActionSpec, things


def channel_weights(spec: ActionSpec, weights: Mapping[str, float]) -> Tensor | None:
    """A weight for each channel, 1 on average: ``(A,)``; None where all are alike.

    Args:
        spec: of the action, with units.
        weights: of what the units name, such as ``{m: 20, rot6d: 3}``; the others have 1.

    Raises:
        UserError: the action has no such units, or a weight is no number above 0.
    """
    if not weights:
        return None
    off = "policy.loss_weights=null weighs all alike"
    if not isinstance(weights, Mapping):
        raise UserError(f"loss_weights is a mapping from units to weights, such as {{m: 20, rot6d: 3}}; got {weights!r}; {off}")
    channels = [word for word in things(spec.units) for _ in range(UNIT_SIZES.get(word, 1))]
    if len(channels) != spec.size:
        said = f"its units, {spec.units!r}, are of {len(channels)}" if spec.units else "it has no units"
        raise UserError(f"loss_weights go by units, and of this action of {spec.size} numbers {said}; {off}")
    for word, weight in weights.items():
        if word not in channels:
            raise UserError(f"no channels of {word!r} to weigh in an action of {spec.units}{nearest(str(word), set(channels))}; {off}")
        if type(weight) not in (int, float) or not 0 < weight < math.inf:
            raise UserError(f"loss_weights.{word} takes a number above 0, got {weight!r}; {off}")
    drawn = torch.tensor([float(weights.get(word, 1.0)) for word in channels])
    return drawn / drawn.mean()
