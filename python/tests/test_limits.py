"""A call's time limit, Ctrl-C, and faulty items beside good ones."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import conediff
from conediff import Nonnegative
from conediff.errors import NonFiniteError, PrimalInfeasibleError, TimeLimitError

#: Nothing is timed: answers are the same to the last bit.
FIXED = {"forward_solver": "clarabel", "clarabel_solver": "qdldl", "linear_backend": "dense"}


def layer(n=40, **settings):
    """minimize 1/2 |x|^2 + q'x subject to Ax <= b."""
    A = np.random.default_rng(0).normal(size=(n, n))
    return conediff.ConicLayer(np.eye(n), A, [Nonnegative(n)], b=np.ones(n), **FIXED, **settings)


def costs(count, n=40):
    return np.random.default_rng(1).normal(size=(count, n))


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_a_time_limit_holds_for_the_whole_batch_and_done_items_stay(threads):
    q = costs(5000)
    limited = layer(threads=threads, time_limit=0.1, on_error="nan")
    start = time.perf_counter()
    solution = limited.solve(q=q)
    assert time.perf_counter() - start < 5.0
    late = [e for e in solution.errors if e is not None]
    assert 0 < len(late), "all were done"
    for error in late:
        assert isinstance(error, TimeLimitError) and isinstance(error, TimeoutError)
        assert error.limit == 0.1 and error.elapsed >= 0.1 and error.step
    done = [k for k, e in enumerate(solution.errors) if e is None]
    assert set(solution.status) == ({"solved", "time limit reached"} if done else {"time limit reached"})
    free = layer()
    for k in done[:: max(1, len(done) // 5)]:
        np.testing.assert_array_equal(solution.x[k], free.solve(q=q[k]).x)
    assert np.isnan(solution.x[[k for k, e in enumerate(solution.errors) if e is not None]]).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_items_that_were_late_have_no_derivatives(threads):
    late = layer(threads=threads, on_error="nan", time_limit=1e-9).solve(q=costs(50))
    assert all(isinstance(e, TimeLimitError) for e in late.errors)
    assert np.isnan(late.vjp(dx=np.ones(40)).q).all()
    with pytest.raises(TimeLimitError):
        late.regularity(item=0)


def test_a_time_limit_raises_by_default():
    with pytest.raises(TimeLimitError) as caught:
        layer(time_limit=1e-9).solve(q=costs(3))
    assert caught.value.item == 0 and caught.value.limit == 1e-9
    with pytest.raises(TimeLimitError):
        conediff.solve(np.eye(2), np.ones(2), np.eye(2), np.ones(2), [Nonnegative(2)], time_limit=1e-9)


def test_a_generous_time_limit_changes_no_bit():
    q = costs(20)
    free, limited = layer().solve(q=q), layer(time_limit=3600.0).solve(q=q)
    np.testing.assert_array_equal(free.x, limited.x)
    seed = np.ones(40)
    np.testing.assert_array_equal(free.vjp(dx=seed).b, limited.vjp(dx=seed).b)


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("on_error", ["nan", "zero"])
def test_faulty_items_leave_the_others_alone(threads, on_error):
    # x <= b_0 and -x <= b_1.
    A = np.array([[1.0], [-1.0]])
    made = conediff.ConicLayer(np.eye(1), A, [Nonnegative(2)], threads=threads, on_error=on_error, **FIXED)
    q = np.array([[-1.0], [np.nan], [-2.0], [0.5], [-0.3]])
    b = np.array([[0.5, 1.0], [0.5, 1.0], [-3.0, 1.0], [2.0, 1.0], [0.7, 1.0]])
    solution = made.solve(q=q, b=b)
    kinds = [type(e) for e in solution.errors]
    assert kinds == [type(None), NonFiniteError, PrimalInfeasibleError, type(None), type(None)]
    assert list(solution.status) == ["solved", "wrong data", "primal infeasible", "solved", "solved"]
    gradient, tangent = solution.vjp(dx=np.ones(1)), solution.jvp(q=np.ones(1))
    fill = np.nan if on_error == "nan" else 0.0
    for k in range(5):
        if kinds[k] is type(None):
            alone = conediff.ConicLayer(np.eye(1), A, [Nonnegative(2)], **FIXED).solve(q=q[k], b=b[k])
            np.testing.assert_array_equal(solution.x[k], alone.x)
            np.testing.assert_array_equal(gradient.b[k], alone.vjp(dx=np.ones(1)).b)
            np.testing.assert_array_equal(tangent.x[k], alone.jvp(q=np.ones(1)).x)
        else:
            for values in (solution.x[k], gradient.b[k], tangent.x[k]):
                np.testing.assert_array_equal(values, np.full(values.shape, fill))


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_ctrl_c_stops_one_long_call_between_its_items(threads):
    made = layer(threads=threads)
    few = costs(40)
    made.solve(q=few)
    start = time.perf_counter()
    made.solve(q=few)
    each = (time.perf_counter() - start) / 40
    # A batch of about ten seconds: without the look between items the call would end first.
    many = costs(max(1000, int(10.0 / each)))
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        made.solve(q=many)
    assert time.perf_counter() - start < 0.5 * len(many) * each
    # Nothing of it is left.
    assert made.solve(q=few[0]).errors is None
