"""What runs on the device beside MuJoCo Warp; a module of its own, since Warp reads the annotations as types and a checker cannot."""

import warp as wp


@wp.kernel(enable_backward=False)
def pass_on(command: wp.array2d[float], columns: wp.array[int], ctrl: wp.array2d[float]):
    """``ctrl[:, j] = command[:, columns[j]]`` where there is such a column."""
    row, index = wp.tid()
    if columns[index] >= 0:
        ctrl[row, index] = command[row, columns[index]]


@wp.kernel(enable_backward=False)
def spring_torque(
    command: wp.array2d[float],
    column: int,
    site_xmat: wp.array2d[wp.mat33],
    site: int,
    refsite: int,
    stiffness: float,
    first: int,
    ctrl: wp.array2d[float],
):
    """Stiffness times the rotation vector from the site's orientation to the commanded quaternion (wxyz), in the reference's frame."""
    row = wp.tid()
    goal = wp.normalize(wp.quat(command[row, column + 1], command[row, column + 2], command[row, column + 3], command[row, column]))
    here = wp.transpose(site_xmat[row, refsite]) * site_xmat[row, site]
    error = wp.normalize(wp.quat_from_matrix(wp.quat_to_matrix(goal) * wp.transpose(here)))
    axis, cosine = wp.vec3(error[0], error[1], error[2]), error[3]
    if cosine < 0.0:  # the shorter way round
        axis, cosine = -axis, -cosine
    sine = wp.length(axis)
    turn = 2.0 * axis
    if sine > 1.0e-6:
        turn = (2.0 * wp.atan2(sine, cosine) / sine) * axis
    for index in range(3):
        ctrl[row, first + index] = stiffness * turn[index]


@wp.kernel(enable_backward=False)
def note_overflow(nefc: wp.array[int], njmax: int, nacon: wp.array[int], naconmax: int, lacking: wp.array2d[float]):
    """Remember rows with more constraints than there is room for, and that there were too many contacts in all."""
    row = wp.tid()
    if nefc[row] > njmax:
        lacking[row, 0] = 1.0
    if nacon[0] > naconmax:
        lacking[row, 1] = 1.0
