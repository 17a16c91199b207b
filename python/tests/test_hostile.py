"""Arrays and matrices that a careless caller hands over: each works as documented, or is one of the package's exceptions.

Nothing here may end in ``InternalError``, in a panic, or in a dead interpreter.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from support import program, relative

import conediff
from conediff import ConicLayer, Exponential, GeneralizedPower, Nonnegative, Power, PsdTriangle, SecondOrder, Zero

#: What a wrong argument may raise.
REFUSED = (conediff.errors.InputError, conediff.errors.SolveError, conediff.errors.DerivativeError)

N, M = 3, 4


def data() -> dict[str, np.ndarray]:
    """A small regular program: x <= 1, x1 + x2 + x3 <= 2."""
    A = np.vstack([np.eye(N), np.ones((1, N))])
    return {"P": np.diag([2.0, 3.0, 4.0]), "q": np.array([-1.0, -6.0, -1.0]), "A": A, "b": np.array([1.0, 1.0, 1.0, 2.0])}


def dense_layer() -> ConicLayer:
    return ConicLayer(np.ones((N, N), dtype=bool), np.ones((M, N), dtype=bool), [Nonnegative(M)])


def expected() -> np.ndarray:
    return dense_layer().solve(**data()).x


def call(**changed: object) -> conediff.Solution:
    return dense_layer().solve(**{**data(), **changed})


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("name", ["P", "q", "A", "b"])
@pytest.mark.parametrize("form", ["fortran", "strided", "negative", "read-only", "swapped", "int", "list", "float16", "matrix"])
def test_forms_of_the_same_numbers_give_the_same_answer(name: str, form: str) -> None:
    array = data()[name]
    if form == "fortran":
        array = np.asfortranarray(array)
    elif form == "strided":
        wide = np.full((*array.shape, 3), np.nan)
        wide[..., 1] = array
        array = wide[..., 1]
    elif form == "negative":
        array = np.ascontiguousarray(array[::-1])[::-1]
    elif form == "read-only":
        array.flags.writeable = False
    elif form == "swapped":
        array = array.astype(">f8")
    elif form == "int":
        array = array.astype(np.int32)
    elif form == "list":
        array = array.tolist()
    elif form == "float16":
        array = array.astype(np.float16)
    elif array.ndim == 2:
        array = np.asmatrix(array)
    before = np.array(array, copy=True)
    solution = call(**{name: array})
    assert relative(solution.x, expected()) <= 1e-12
    assert np.array_equal(np.asarray(array), before), "the caller's array has changed"
    assert solution.vjp(dx=np.ones(N)).trusted


@pytest.mark.parametrize("name", ["P", "q", "A", "b"])
@pytest.mark.parametrize(
    "value",
    [
        np.array(1.0),
        np.zeros(0),
        np.zeros((0, 0)),
        np.zeros((1, 0, 5)),
        np.zeros((2, 2, 2, 2)),
        np.array([None, 1.0], dtype=object),
        np.array([object()] * 3),
        np.array(["1.0", "2.0", "3.0"]),
        np.array([b"1"]),
        np.array(["2020-01-01"] * 3, dtype="datetime64[D]"),
        np.zeros(3, dtype=[("x", float)]),
        np.array([1.0 + 2.0j] * 3),
        [[1.0, 2.0], [3.0]],
        [[1.0], "x"],
        "text",
        b"bytes",
        {"x": 1.0},
        object(),
        float("nan"),
        lambda: None,
    ],
    ids=lambda v: f"{type(v).__name__}-{getattr(v, 'dtype', '')}-{getattr(v, 'shape', '')}",
)
def test_what_is_no_array_of_the_shape_is_refused(name: str, value: object) -> None:
    with pytest.raises(REFUSED):
        call(**{name: value})
    if name in ("P", "A"):
        with pytest.raises(REFUSED):
            ConicLayer(*({**data(), name: value}[k] for k in ("P", "A")), [Nonnegative(M)])


@pytest.mark.parametrize("name", ["P", "q", "A", "b"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(name: str, bad: float) -> None:
    array = data()[name]
    array[(0,) * array.ndim] = bad
    if (name, bad) == ("b", np.inf):
        assert call(b=array).z[0] == 0.0
        return
    with pytest.raises(conediff.errors.InputError):
        call(**{name: array})


@pytest.mark.parametrize("name", ["P", "q", "A", "b"])
def test_masked_entries_are_refused(name: str) -> None:
    array = np.ma.masked_array(data()[name])
    assert relative(call(**{name: array}).x, expected()) <= 1e-12
    array[(0,) * array.ndim] = np.ma.masked
    with pytest.raises(conediff.errors.InputError, match="masked"):
        call(**{name: array})


@pytest.mark.parametrize("name", ["P", "q", "A", "b"])
@pytest.mark.parametrize("size", [10**9, 10**13])
def test_a_batch_larger_than_memory_is_refused_before_it_is_made(name: str, size: int) -> None:
    """Views of no size of their own."""
    array = data()[name]
    wide = np.lib.stride_tricks.as_strided(array, (size, *array.shape), (0, *array.strides))
    with pytest.raises(conediff.errors.TooLargeError):
        call(**{name: wide})


def test_a_batch_of_arrays_without_entries_is_refused_when_it_is_too_long() -> None:
    layer = ConicLayer(np.eye(2), np.zeros((0, 2)), [])
    assert layer.solve(q=np.ones(2), b=np.zeros((5, 0))).x.shape == (5, 2)
    with pytest.raises(conediff.errors.TooLargeError):
        layer.solve(q=np.ones(2), b=np.zeros((10**13, 0)))


@pytest.mark.parametrize(
    "make", [sp.csc_array, sp.csr_array, sp.csc_matrix, sp.csr_matrix, sp.coo_array, sp.lil_array, sp.dok_array]
)
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_every_sparse_form_gives_the_dense_answer(make: type, index: type) -> None:
    given = data()
    A = make(given["A"])
    if hasattr(A, "indptr"):
        A.indptr, A.indices = A.indptr.astype(index), A.indices.astype(index)
    solution = conediff.solve(sp.csc_array(given["P"]), given["q"], A, given["b"], [Nonnegative(M)])
    assert relative(solution.x, expected()) <= 1e-12
    gradient = solution.vjp(dx=np.ones(N))
    assert gradient.trusted
    assert gradient.A.shape == A.shape


@pytest.mark.parametrize("make", [sp.csc_array, sp.csr_array])
def test_unsorted_and_duplicate_indices_mean_their_sum(make: type) -> None:
    given = data()
    clean = make(given["A"])
    # Each entry twice, as two halves, in reverse order.
    indptr = 2 * clean.indptr
    indices, values = np.empty(2 * clean.nnz, dtype=np.int32), np.empty(2 * clean.nnz)
    for k in range(len(clean.indptr) - 1):
        own = slice(clean.indptr[k], clean.indptr[k + 1])
        indices[indptr[k] : indptr[k + 1]] = np.repeat(clean.indices[own][::-1], 2)
        values[indptr[k] : indptr[k + 1]] = np.repeat(0.5 * clean.data[own][::-1], 2)
    A = make((values, indices, indptr), shape=clean.shape)
    before = A.indices.copy()
    solution = conediff.solve(given["P"], given["q"], A, given["b"], [Nonnegative(M)])
    assert relative(solution.x, expected()) <= 1e-12
    assert np.array_equal(A.indices, before)


def broken(make: type, fault: str) -> object:
    """A sparse A whose arrays were changed behind SciPy's back."""
    A = make(data()["A"])
    if make is sp.coo_array:
        A.coords = tuple(c.copy() for c in A.coords)
        A.coords[0][0] = {"beyond": 10**6, "negative": -(10**6)}.get(fault, M)
        return A
    if fault == "beyond":
        A.indices[0] = 10**6
    elif fault == "just beyond":
        A.indices[-1] = max(A.shape)
    elif fault == "negative":
        A.indices[0] = -(10**6)
    elif fault == "pointer":
        A.indptr[1] = 10**6
    elif fault == "falling pointers":
        A.indptr[1], A.indptr[2] = A.indptr[2], A.indptr[1]
    elif fault == "last pointer":
        A.indptr[-1] = 10**6
    elif fault == "short":
        A.data = A.data[:-1]
    return A


@pytest.mark.parametrize("make", [sp.csc_array, sp.csr_array, sp.coo_array])
@pytest.mark.parametrize("fault", ["beyond", "just beyond", "negative", "pointer", "falling pointers", "last pointer", "short"])
def test_broken_sparse_matrices_are_refused(make: type, fault: str) -> None:
    given = data()
    with pytest.raises(conediff.errors.InputError):
        conediff.solve(given["P"], given["q"], broken(make, fault), given["b"], [Nonnegative(M)])
    for own in (sp.csc_array, sp.csr_array):
        layer = ConicLayer(given["P"], own(given["A"]), [Nonnegative(M)])
        with pytest.raises(conediff.errors.InputError):
            layer.solve(given["P"], given["q"], broken(make, fault), given["b"])


@pytest.mark.parametrize("values", [np.array([1, "x"], dtype=object), np.array([1j, 1.0]), np.array([np.nan, 1.0])])
def test_sparse_matrices_of_other_numbers_are_refused(values: np.ndarray) -> None:
    A = sp.csc_array((np.ones(2), ([0, 1], [0, 1])), shape=(M, N))
    A.data = values
    given = data()
    with pytest.raises(conediff.errors.InputError):
        conediff.solve(given["P"], given["q"], A, given["b"], [Nonnegative(M)])


@pytest.mark.parametrize(
    "cones",
    [
        None,
        3,
        "zero",
        [None],
        ["zero"],
        [("zero", 4)],
        [Nonnegative],
        [Nonnegative(-1)],
        [Nonnegative(5)],
        [Nonnegative(4.5)],
        [Nonnegative("4")],
        [Nonnegative(None)],
        [Nonnegative(float("nan"))],
        [Nonnegative(float("inf"))],
        [Nonnegative(True)],
        [Nonnegative([4])],
        [Nonnegative(10**30)],
        [Zero(2**53)],
        [SecondOrder(2**53), SecondOrder(2**53)],
        [PsdTriangle(2**53)],
        [PsdTriangle(-3)],
        [Exponential(), Power(0.5)],
        [Nonnegative(1), Power(0.0)],
        [Nonnegative(1), Power(float("nan"))],
        [Nonnegative(1), Power("half")],
        [Nonnegative(1), Power(None)],
        [GeneralizedPower((), 4)],
        [GeneralizedPower((0.5, 0.5), -2)],
        [GeneralizedPower((0.5, 0.5), 2.5)],
        [GeneralizedPower((0.5, 0.5), 10**30)],
        [GeneralizedPower((0.5, float("nan")), 2)],
    ],
    ids=repr,
)
def test_cones_that_are_none_are_refused(cones: object) -> None:
    with pytest.raises(conediff.errors.InputError):
        ConicLayer(data()["P"], data()["A"], cones)


@pytest.mark.parametrize("exponents", [None, 0.5, ("half", 0.5), (None,)])
def test_exponents_that_are_no_numbers_are_refused(exponents: object) -> None:
    with pytest.raises(conediff.errors.InputError):
        GeneralizedPower(exponents, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tolerance", "small"),
        ("tolerance", float("nan")),
        ("tolerance", None),
        ("tolerance", [1e-8]),
        ("max_iterations", -1),
        ("max_iterations", 2**70),
        ("max_iterations", 1.5),
        ("threads", -1),
        ("linear_solver", "cholesky"),
        ("linear_solver", 3),
        ("selection", ("random", -1)),
        ("policy", ("tikhonov", float("nan"))),
        ("policy", ("tikhonov", 1.0, 2.0)),
        ("max_dense_bytes", "all"),
        ("max_dense_bytes", -1),
        ("max_dense_bytes", 2**70),
        ("max_dense_bytes", float("nan")),
        ("on_error", "ignore"),
        ("on_error", []),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(conediff.errors.InputError):
        ConicLayer(data()["P"], data()["A"], [Nonnegative(M)], **{name: value})


@pytest.mark.parametrize(
    ("P", "A"), [(None, None), (np.array(1.0), None), ([], None), ([[1.0], [2.0, 3.0]], None), (5, None), ("x", None)]
)
def test_matrices_that_tell_no_number_of_variables_are_refused(P: object, A: object) -> None:
    with pytest.raises(conediff.errors.InputError):
        ConicLayer(P, A, [])


def test_seeds_and_directions_that_do_not_fit_are_refused() -> None:
    solution = call()
    for bad in (np.array(1.0), np.ones(2), np.ones((2, 2)), np.array([1j] * N), ["x"] * N, [1.0, [2.0], 3.0], np.full(N, np.nan)):
        with pytest.raises(REFUSED):
            solution.vjp(dx=bad)
        with pytest.raises(REFUSED):
            solution.jvp(q=bad)
    for wide in (
        np.lib.stride_tricks.as_strided(np.ones(N), (10**13, N), (0, 8)),
        np.broadcast_to(np.ones(N), (10**9, 10**4, N)),
    ):
        with pytest.raises(conediff.errors.TooLargeError):
            solution.vjp(dx=wide)
        with pytest.raises(conediff.errors.TooLargeError):
            solution.jvp(q=wide)
    masked = np.ma.masked_array(np.ones(N), mask=[True, False, False])
    with pytest.raises(conediff.errors.InputError):
        solution.vjp(dx=masked)
    for item in (-1, 1, (0, 0), 10**30, 1.5, "x", None, (None,)):
        with pytest.raises(REFUSED):
            solution.info(item)
        with pytest.raises(REFUSED):
            solution.regularity(item=item)
    for within in (-1.0, float("nan"), float("inf"), "x", [1.0]):
        with pytest.raises(REFUSED):
            solution.regularity(within)


def test_a_batch_with_bad_items_keeps_the_good_ones() -> None:
    layer = ConicLayer(data()["P"], data()["A"], [Nonnegative(M)], on_error="nan")
    q = np.tile(data()["q"], (6, 1))
    q[1, 0], q[3, 1], q[4] = np.nan, np.inf, 1e308
    solution = layer.solve(q=q, b=data()["b"])
    for item in (0, 2, 5):
        assert relative(solution.x[item], expected()) <= 1e-12
    assert np.isnan(solution.x[[1, 3]]).all()
    gradient = solution.vjp(dx=np.ones((6, N)))
    assert np.isfinite(gradient.q[[0, 2, 5]]).all()


#: Pieces that a random argument is made of.
NUMBERS = [0.0, -0.0, 1.0, -1.0, 5e-324, 1e-308, 1e-20, 1e8, 1e20, 1e100, 1e308, np.inf, -np.inf, np.nan]


def hostile_array(rng: np.random.Generator, like: np.ndarray) -> object:
    """The array with something changed: its numbers, type, shape, strides or order."""
    array = like.copy()
    for _ in range(rng.integers(1, 3)):
        kind = rng.integers(9)
        if kind <= 2 and array.size and array.dtype.kind == "f":
            array = array.copy()
            array.flat[rng.integers(array.size)] = NUMBERS[rng.integers(len(NUMBERS))]
        elif kind == 3:
            with np.errstate(all="ignore"):
                array = array.astype(rng.choice(["f4", "f2", "i4", "u1", "?", "c16", "O", ">f8", "g"]))
        elif kind == 4:
            array = array[..., ::-1][..., ::-1] if array.ndim else array
        elif kind == 5:
            array = np.broadcast_to(array, (int(rng.integers(0, 4)), *array.shape))
        elif kind == 6:
            array = array[..., : int(rng.integers(0, array.shape[-1] + 1))] if array.ndim else array
        elif kind == 7:
            array = np.moveaxis(array, 0, -1)
        else:
            array = array.reshape(-1) if rng.integers(2) else array[None]
    return array


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["orthant", "all", "psd", "power"])
def test_random_arguments_work_or_are_refused(name: str) -> None:
    made = program(name)
    rng = np.random.default_rng(list("orthant all psd power".split()).index(name))
    worked = 0
    for _ in range(60):
        layer = made.layer(time_limit=1.0, max_iterations=40)
        changed = list(made.data)
        for _ in range(rng.integers(1, 3)):
            k = rng.integers(4)
            changed[k] = hostile_array(rng, made.data[k])
        try:
            solution = layer.solve(*changed)
            solution.vjp(dx=hostile_array(rng, solution.x))
            solution.jvp(q=hostile_array(rng, np.asarray(made.q)))
            worked += 1
        except conediff.errors.InternalError:
            raise
        except REFUSED:
            pass
    assert worked > 0
