"""Differences of positions, finely coded."""

import numpy as np
import pytest
import torch

from robolearn.errors import UserError
from robolearn.policies.relations import Relations, layout_of

LAYOUT = layout_of({"tcp_pos": 3, "parts_poses": 18, "action": 10})


def test_the_code_tells_three_millimetres_apart_and_forgets_where_the_pair_stands():
    relations = Relations([["parts_poses:9", "tcp_pos"]], LAYOUT, (0.32, 0.08))
    rows = np.zeros((3, 31), np.float32)
    rows[1, 12] = 0.003  # the second part's x, 9 into parts_poses, which begins at 3
    rows[2] = rows[1]
    rows[2, [0, 12]] += 0.2  # both moved together
    code = relations.encode(rows)  # (3, 12)
    assert code.shape == (3, relations.size)
    np.testing.assert_allclose(code[1, 3], np.sin(2 * np.pi * 0.003 / 0.08), rtol=1e-5)  # fine sine of x
    np.testing.assert_allclose(code[1], code[2], atol=1e-5)
    assert np.abs(code[1] - code[0]).max() > 0.2


def test_a_place_that_does_not_exist_names_those_that_do():
    with pytest.raises(UserError, match=r"no position at 'parts_poses:16'.*tcp_pos \(0..0\)"):
        Relations([["parts_poses:16", "tcp_pos"]], LAYOUT, (0.1,))
    with pytest.raises(UserError, match="leg"):
        Relations([["leg", "tcp_pos"]], LAYOUT, (0.1,))


def test_no_pairs_add_no_features():
    assert Relations([], LAYOUT, (0.1,)).encode(np.zeros((2, 31), np.float32)).shape == (2, 0)


def test_tensors_are_coded_as_arrays_are():
    relations = Relations([["parts_poses:9", "tcp_pos"], ["parts_poses", "parts_poses:9"]], LAYOUT, (0.32, 0.08))
    rows = np.random.default_rng(0).normal(0, 0.2, (5, 31)).astype(np.float32)
    coded = relations.encode_tensor(torch.from_numpy(rows).reshape(5, 1, 31))  # (5, 1, 24)
    np.testing.assert_allclose(coded[:, 0].numpy(), relations.encode(rows), atol=1e-5)
