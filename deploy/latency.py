"""How late things are: steps that inference takes, as measured, and what a slow actuator is told ahead of its time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, check_positive, check_share

_ROUNDING = 1e-6  # steps by which a latency may exceed a whole number of them for want of digits


class DelayEstimator:
    """Policy steps between an observation and the first action of the chunk drawn from it, as lately measured.

    The estimate is the longest of the recent latencies but for the one longest of all, so that a single outlier does not count and
    two do. The first measurements, of a process that loads, compiles and warms its caches, never count.

    Args:
        period: of a policy step [s].
        warmup: measurements left out at the start.
        window: recent measurements that count.
        grace: how long after its step has begun an action may still come [s]; a reply within it is in time for that step.
        initial: what is assumed before the first measurement that counts [s].

    Raises:
        UserError: a period or a window that is not positive, a negative number elsewhere.
    """

    def __init__(self, period: float, *, warmup: int = 2, window: int = 20, grace: float = 0.0, initial: float = 0.0) -> None:
        check_positive(period=period, window=window)
        check_share(high=math.inf, warmup=warmup, grace=grace, initial=initial)
        self.period, self.grace, self.initial = period, grace, initial
        self._cold = warmup
        self._recent: deque[float] = deque(maxlen=window)

    def add(self, seconds: float) -> None:
        """Note the latency of one inference [s], from observation to reply.

        Raises:
            UserError: it is none.
        """
        if not 0 <= seconds < math.inf:
            raise UserError(f"a latency is a number of seconds, at least 0, got {seconds}")
        if self._cold:
            self._cold -= 1
        else:
            self._recent.append(seconds)

    @property
    def seconds(self) -> float:
        """The estimate [s]."""
        if not self._recent:
            return self.initial
        longest = sorted(self._recent)
        return longest[-2] if len(longest) > 1 else longest[-1]

    @property
    def steps(self) -> int:
        """The estimate in whole policy steps: 0 when replies come within the grace."""
        return max(0, math.ceil((self.seconds - self.grace) / self.period - _ROUNDING))


def early_target(target: NDArray[np.float32], steps: int, ahead: Callable[[int], NDArray[np.float32] | None]) -> NDArray[np.float32]:
    """What to send to an actuator that takes ``steps`` policy steps longer than the one that ``target (A,)`` is for.

    Args:
        target: of the present step.
        steps: how much earlier its targets are sent, at least 0.
        ahead: gives the target planned so many steps after the present one, or None; see ``ChunkExecutor.ahead``.

    Returns:
        The target ``(A,)`` planned for then, or the farthest that is planned before.
    """
    for later in range(steps, 0, -1):
        planned = ahead(later)
        if planned is not None:
            return planned
    return target
