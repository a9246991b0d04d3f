"""Repairs rotation labels that a converter scaled by one unknown factor per episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.layout import StoreError
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix, rotvec_from_matrix

METHODS = ("rescale", "achieved")
# Steps that turn less than this carry no information about the factor [rad].
_STILL = 0.005
# No arm turns further in a control step; a recording that does has jumped [rad].
_JUMP = 0.35


@dataclass(frozen=True)
class RotationRepair:
    """Gives rotation targets back their lead over the achieved orientation.

    ResiP's converter meant to clip each commanded rotation to 0.35 rad but divided a whole episode's commands by their
    common norm (``clip_quat_xyzw_magnitude``), so every target lags at about an eighth of what the operator asked for. The
    factor can be found again: a servo turns a fixed share, ``response``, of what it is asked in a step, and what it turned
    is recorded. With d the recorded rotation from current to target and a the rotation achieved until the next step (both
    rotation vectors in the base frame), a = k d with one k for the episode (correlation above 0.998).

    - ``rescale``: target = exp(k d / response) current, with k the median of a.d / d.d over the steps that turn. Where
      contact held the hand back, the operator's push is kept.
    - ``achieved``: target = exp(a / response) current.

    Args:
        method: ``rescale`` or ``achieved``.
        response: share of the commanded rotation achieved in one control step (measured in the simulator that replays).
        max_relabel: largest commanded rotation of one step [rad]; larger ones are shortened.
        min_correlation: below this between a and d (leaving out steps that jump) the labels have another defect.
    """

    method: str = "rescale"
    response: float = 0.6
    max_relabel: float = 0.35
    min_correlation: float = 0.99

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise StoreError(f"no repair_method {self.method!r}; there are {', '.join(METHODS)}")
        if not 0 < self.response <= 1 or self.max_relabel <= 0:
            raise StoreError(f"response is in (0, 1] and max_relabel positive, got {self.response} and {self.max_relabel}")

    def __call__(self, current: NDArray[Any], target: NDArray[Any]) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Repair one episode: achieved and commanded orientation, rot6d ``(T, 6)`` each.

        Returns:
            The targets ``(T, 6)``, and what was done, for the provenance.

        Raises:
            StoreError: the recorded commands do not explain the motion, so the labels have another defect.
        """
        matrices = matrix_from_rot6d(current)
        asked = rotvec_from_matrix(matrix_from_rot6d(target) @ matrices.swapaxes(-1, -2))  # (T, 3) in the base frame
        achieved = np.zeros_like(asked)  # the last step's is not recorded
        achieved[:-1] = rotvec_from_matrix(matrices[1:] @ matrices[:-1].swapaxes(-1, -2))
        factor, correlation = self._fit(asked[:-1], achieved[:-1])
        command = (factor * asked if self.method == "rescale" else achieved) / self.response
        angle = np.linalg.norm(command, axis=-1, keepdims=True)
        command *= np.minimum(1.0, self.max_relabel / np.maximum(angle, 1e-12))
        note = {
            "method": self.method,
            "defect": "rotation commands scaled by one factor per episode",
            "factor": round(factor / self.response, 4),
            "response": self.response,
            "correlation": round(correlation, 5),
            "clipped_steps": int((angle > self.max_relabel).sum()),
        }
        return rot6d_from_matrix(matrix_from_rotvec(command) @ matrices), note

    def _fit(self, asked: NDArray[Any], achieved: NDArray[Any]) -> tuple[float, float]:
        """Factor k and correlation of ``achieved = k asked``; jumps that no servo makes in a step are left out."""
        plausible = np.linalg.norm(achieved, axis=-1) <= _JUMP
        turning = plausible & (np.linalg.norm(achieved, axis=-1) > _STILL)
        if turning.sum() < 10:
            return 1.0, 1.0  # an episode without rotation: nothing to repair
        a, d = achieved[turning], asked[turning]
        factor = float(np.median((a * d).sum(-1) / np.maximum((d * d).sum(-1), 1e-12)))
        correlation = float(np.corrcoef(achieved[plausible].ravel(), asked[plausible].ravel())[0, 1])
        if correlation < self.min_correlation:
            raise StoreError(
                f"rotation commands and achieved rotations correlate by {correlation:.3f}, expected at least {self.min_correlation}: "
                "the labels have another defect than the one repaired; import with repair_rotation=false"
            )
        return factor, correlation
