"""The box: immutable, hashable, a pytree, and strict about its values."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pgjax


def test_scalars_broadcast_and_values_are_kept():
    box = pgjax.Box([-1, 0], 2.0)
    np.testing.assert_array_equal(box.low, [-1, 0])
    np.testing.assert_array_equal(box.high, [2, 2])
    assert box.num_dims == 2


def test_equal_boxes_hash_alike_and_others_differ():
    one, same, other = pgjax.Box([0.0], [1.0]), pgjax.Box(jnp.zeros(1), np.ones(1)), pgjax.Box([0.0], [2.0])
    assert one == same
    assert hash(one) == hash(same)
    assert one != other


def test_a_box_cannot_be_changed():
    box = pgjax.Box([0.0], [1.0])
    with pytest.raises(AttributeError):
        box.low = np.zeros(1)
    with pytest.raises(ValueError, match="read-only"):
        box.low[0] = -1.0


def test_a_box_goes_through_jit_as_an_argument():
    width = jax.jit(lambda box: box.high - box.low)(pgjax.Box([0.0, 1.0], [1.0, 3.0]))
    np.testing.assert_array_equal(width, [1, 2])


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ([1.0], [0.0], "low must not exceed high"),
        ([0.0, 0.0], [1.0, 1.0, 1.0], "same shape"),
        ([-np.inf], [0.0], "low must be finite"),
        ([0.0], [np.nan], "high must be finite"),
        (0.0, 1.0, "shape"),
        ([[0.0]], [[1.0]], "shape"),
        ([], [], "N >= 1"),
        (["a"], [1.0], "low must be numbers"),
    ],
)
def test_bad_bounds_are_refused_by_name(low, high, message):
    with pytest.raises(ValueError, match=message):
        pgjax.Box(low, high)


def test_a_box_can_be_copied_and_pickled():
    box = pgjax.Box([0.0, 1.0], [1.0, 3.0])
    for other in (copy.copy(box), copy.deepcopy(box), pickle.loads(pickle.dumps(box))):
        assert other == box


def test_a_box_of_traced_bounds():
    width = jax.jit(lambda x: pgjax.Box([0.0, -x], [x, 1.0]).high)(2.0)
    np.testing.assert_array_equal(width, [2, 1])
