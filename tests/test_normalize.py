"""The normaliser, there and back."""

import json

import numpy as np
import pytest

from robolearn.normalize import Normalizer, fit_affine

DATA = np.random.default_rng(0).normal(3.0, [0.1, 2.0, 50.0], (500, 3)).astype(np.float32)


def test_minmax_maps_the_range_to_minus_one_and_one():
    normalised = fit_affine(DATA).forward(DATA)
    np.testing.assert_allclose(normalised.min(0), -1, atol=1e-5)
    np.testing.assert_allclose(normalised.max(0), 1, atol=1e-5)


def test_quantiles_ignore_an_outlier():
    spoiled = np.concatenate([DATA, [[1e6, 1e6, 1e6]]])
    clean, robust = fit_affine(DATA, "quantile"), fit_affine(spoiled, "quantile")
    np.testing.assert_allclose(robust.scale, clean.scale, rtol=0.05)


@pytest.mark.parametrize("method", ["minmax", "quantile"])
def test_there_and_back(method):
    part = fit_affine(DATA, method)
    np.testing.assert_allclose(part.inverse(part.forward(DATA)), DATA, rtol=1e-4, atol=1e-4)


def test_a_constant_channel_is_not_blown_up():
    part = fit_affine(np.full((10, 1), 7.0))
    assert part.forward(np.array([[7.001]])) == pytest.approx(0.002, abs=1e-5)


def test_json_keeps_it_to_the_bit():
    normalizer = Normalizer({"tcp": fit_affine(DATA), "action": fit_affine(DATA[:, :2], "quantile")})
    again = Normalizer.from_dict(json.loads(json.dumps(normalizer.to_dict())))
    for name, part in normalizer.parts.items():
        np.testing.assert_array_equal(again[name].offset, part.offset)
        np.testing.assert_array_equal(again[name].scale, part.scale)
    np.testing.assert_array_equal(
        again.inverse("tcp", again.forward("tcp", DATA)), normalizer.inverse("tcp", normalizer.forward("tcp", DATA))
    )


@pytest.mark.parametrize(("data", "method"), [(DATA * np.nan, "minmax"), (DATA[:0], "minmax"), (DATA, "gauss")])
def test_bad_data_and_methods_are_refused(data, method):
    with pytest.raises(ValueError, match="normaliser"):
        fit_affine(data, method)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(KeyError, match="fitted on \\['tcp'\\]"):
        Normalizer({"tcp": fit_affine(DATA)})["tpc"]
