"""The PyTorch layer: every way of differentiating, batches under vmap, dtypes, failures."""

import copy
import pickle

import numpy as np
import pytest
from support import PRODUCTS, program, relative

import conediff
from conediff import Exponential, Nonnegative, Zero, errors

torch = pytest.importorskip("torch")

from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap  # noqa: E402

import conediff.torch  # noqa: E402

ALGEBRA = 1e-10


def layer_and_data(name, **settings):
    made = program(name)
    shapes = np.ones(made.P.shape, dtype=bool), np.ones(made.A.shape, dtype=bool)
    layer = conediff.torch.ConicLayer(*shapes, made.cones, **settings)
    return layer, [torch.tensor(d, requires_grad=True) for d in made.data]


def constants(data):
    return [d.detach() for d in data]


@pytest.mark.parametrize("name", PRODUCTS)
def test_gradcheck_passes_in_both_modes(name):
    layer, data = layer_and_data(name)
    assert torch.autograd.gradcheck(lambda *d: tuple(layer(*d)), data, check_forward_ad=True, fast_mode=True)


def test_gradcheck_of_every_entry_passes_in_both_modes():
    layer, data = layer_and_data("orthant")
    assert torch.autograd.gradcheck(lambda *d: tuple(layer(*d)), data, check_forward_ad=True)


def test_gradcheck_passes_on_batches_that_broadcast():
    layer, (P, q, A, b) = layer_and_data("second-order")
    q = (q.detach() + 0.01 * torch.randn(3, 1, len(q), dtype=q.dtype)).requires_grad_()
    b = (b.detach() + 0.01 * torch.randn(2, len(b), dtype=q.dtype)).requires_grad_()
    assert layer(P, q, A, b).x.shape == (3, 2, q.shape[-1])
    assert torch.autograd.gradcheck(lambda *d: tuple(layer(*d)), (P, q, A, b), check_forward_ad=True, fast_mode=True)


def test_the_function_solves_and_differentiates_without_a_layer():
    made = program("all")
    data = [torch.tensor(d, requires_grad=True) for d in made.data]
    solution = conediff.torch.solve(*data, made.cones)
    (solution.x.sum() + solution.objective).backward()
    expected = conediff.solve(*made.data, made.cones).vjp(dx=np.ones(made.q.shape), dobjective=1.0)
    for tensor, gradient in zip(data, (expected.P, expected.q, expected.A, expected.b), strict=True):
        assert relative(tensor.grad, gradient) < ALGEBRA


def test_jacobians_agree_forward_and_reverse_and_with_numpy():
    layer, data = layer_and_data("all")
    P, q, A, b = constants(data)
    made = program("all")
    expected = conediff.solve(*made.data, made.cones).jacobian("xz", "qb")
    for part, of in enumerate("xz"):
        for argument, wrt in ((1, "q"), (3, "b")):

            def solve(value, argument=argument, part=part):
                given = [P, q, A, b]
                given[argument] = value
                return layer(*given)[part]

            for jacobian in (jacrev, jacfwd):
                assert relative(jacobian(solve)((P, q, A, b)[argument]), expected[of, wrt]) < ALGEBRA


def test_jvp_of_torch_func_and_dual_numbers_agree():
    layer, data = layer_and_data("exponential")
    P, q, A, b = constants(data)
    dq = torch.randn_like(q)
    _, tangent = jvp(lambda q: layer(P, q, A, b).z, (q,), (dq,))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(q, dq)
        other = torch.autograd.forward_ad.unpack_dual(layer(P, dual, A, b).z).tangent
    assert relative(tangent, other) < ALGEBRA


def test_per_sample_gradients_by_vmap_equal_the_loop():
    layer, data = layer_and_data("all")
    P, q, A, b = constants(data)
    Q = q + 0.01 * torch.randn(4, len(q), dtype=q.dtype)

    def loss(q, b):
        return layer(P, q, A, b).x.pow(2).sum()

    for argnums in (0, 1):
        found = vmap(grad(loss, argnums), in_dims=(0, None))(Q, b)
        expected = torch.stack([grad(loss, argnums)(row, b) for row in Q])
        assert relative(found, expected) < ALGEBRA


def test_vmap_nests_and_mixes_with_leading_dimensions():
    layer, data = layer_and_data("orthant")
    P, q, A, b = constants(data)
    Q = q + 0.01 * torch.randn(4, 2, len(q), dtype=q.dtype)
    B = b + 0.01 * torch.randn(3, len(b), dtype=q.dtype)
    # Over b outside, over the second axis of q inside; the first axis of q is the layer's own batch.
    nested = vmap(vmap(lambda q, b: layer(P, q, A, b).x, in_dims=(1, None), out_dims=1), in_dims=(None, 0))(Q, B)
    assert nested.shape == (3, 4, 2, len(q))
    assert relative(nested[2, 3, 1], layer(P, Q[3, 1], A, B[2]).x) < ALGEBRA
    last = vmap(lambda A: layer(P, q, A, b).x, in_dims=2)(torch.stack([A, 1.01 * A], dim=2))
    assert relative(last[1], layer(P, q, 1.01 * A, b).x) < ALGEBRA
    gradient = grad(lambda b: vmap(lambda q: layer(P, q, A, b).x)(Q[:, 0]).sum())(b)
    assert relative(gradient, sum(grad(lambda b, r=r: layer(P, r, A, b).x.sum())(b) for r in Q[:, 0])) < ALGEBRA
    forward = vmap(lambda q: jvp(lambda q: layer(P, q, A, b).objective, (q,), (torch.ones_like(q),))[1])(Q[:, 0])
    assert relative(forward, layer(P, Q[:, 0], A, b).x.sum(-1)) < 1e-9


def test_differentiating_twice_is_an_error_in_every_way():
    layer, data = layer_and_data("orthant")
    P, q, A, b = data
    with pytest.raises(NotImplementedError, match="twice"):
        gradient = torch.autograd.grad(layer(P, q, A, b).x.sum(), q, create_graph=True)[0]
        gradient.sum().backward()
    fixed = constants(data)

    def loss(q):
        return layer(fixed[0], q, fixed[2], fixed[3]).x.pow(2).sum()

    for twice in (hessian(loss), jacfwd(jacfwd(loss)), jacrev(jacrev(loss)), grad(lambda q: grad(loss)(q).sum())):
        with pytest.raises(NotImplementedError, match="twice"):
            twice(fixed[1])


def test_the_dtype_of_the_tensors_comes_back():
    layer, data = layer_and_data("orthant")
    single = [d.detach().float().requires_grad_() for d in data]
    solution = layer(*single)
    assert {part.dtype for part in solution} == {torch.float32}
    solution.x.sum().backward()
    assert {d.grad.dtype for d in single} == {torch.float32}
    double = [d.detach().double().requires_grad_() for d in single]
    layer(*double).x.sum().backward()
    for s, d in zip(single, double, strict=True):
        assert torch.equal(s.grad, d.grad.float())
    mixed = layer(data[0].detach(), single[1].detach(), *constants(data)[2:])
    assert mixed.x.dtype == torch.float64


def test_sparse_layers_take_values_in_stored_order():
    made = program("second-order")
    A = made.A * (np.abs(made.A) > 0.3)
    import scipy.sparse as sp

    layer = conediff.torch.ConicLayer(made.P, sp.csr_array(A), made.cones, q=made.q, b=made.b)
    values = torch.tensor(layer.layer.A.data, requires_grad=True)
    layer(A=values).x.sum().backward()
    expected = conediff.solve(made.P, made.q, A, made.b, made.cones).vjp(dx=np.ones(made.q.shape)).A
    assert relative(values.grad, expected[A != 0.0]) < ALGEBRA


def test_a_kink_is_a_warning_and_under_strict_an_error():
    q = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    bound = (torch.eye(1), -torch.eye(1), [Nonnegative(1)])
    layer = conediff.torch.ConicLayer(*bound, b=torch.zeros(1))
    with pytest.warns(conediff.UntrustedDerivativeWarning, match="kink"):
        layer(q=q).x.sum().backward()
    assert torch.isfinite(q.grad).all() and layer.solution.regularity().certified
    # The optimal value has a gradient there: no warning (the tests make warnings errors).
    layer(q=q).objective.sum().backward()
    with pytest.raises(errors.NotTrustedError):
        conediff.torch.ConicLayer(*bound, b=torch.zeros(1), strict=True)(q=q)


@pytest.mark.parametrize(("policy", "value"), [("nan", float("nan")), ("zero", 0.0)])
def test_a_failed_item_spoils_only_its_own_gradient(policy, value):
    arguments = (torch.eye(1), torch.tensor([[1.0], [-1.0]]), [Nonnegative(2)])
    b = torch.tensor([[1.0, 0.5], [1.0, -2.0]], dtype=torch.float64, requires_grad=True)
    layer = conediff.torch.ConicLayer(*arguments, q=[1.0], on_error=policy)
    layer(b=b).x.sum().backward()
    expected = torch.tensor([[0.0, -1.0], [value, value]], dtype=torch.float64)
    assert torch.allclose(b.grad, expected, equal_nan=True)
    assert layer.solution.status.tolist() == ["solved", "primal infeasible"]
    with pytest.raises(errors.PrimalInfeasibleError) as caught:
        conediff.torch.ConicLayer(*arguments, q=[1.0])(b=b)
    assert caught.value.item == 1


def test_only_what_is_learned_must_be_differentiable():
    # A row twice: x is differentiable in q (no warning, which would be an error here), not in b.
    q = torch.tensor([-1.0, -2.0], dtype=torch.float64, requires_grad=True)
    b = torch.ones(2, dtype=torch.float64)
    layer = conediff.torch.ConicLayer(torch.eye(2), torch.ones(2, 2), [Zero(2)])
    layer(q=q, b=b).x[0].backward()
    assert torch.allclose(q.grad, torch.tensor([-0.5, 0.5], dtype=torch.float64))
    with pytest.warns(conediff.UntrustedDerivativeWarning) as caught:
        layer(q=q, b=b.requires_grad_()).x[0].backward()
    assert caught[0].filename == __file__


def test_small_cotangents_give_small_gradients_not_zero():
    layer, data = layer_and_data("all")
    solution = layer(*data)
    (large,) = torch.autograd.grad(solution.x.sum(), data[1], retain_graph=True)
    (small,) = torch.autograd.grad(1e-12 * solution.x.sum(), data[1])
    assert relative(1e12 * small, large) < ALGEBRA


def test_the_softmax_layer_is_softmax_and_so_is_its_gradient():
    k = 4
    A = torch.zeros(1 + 3 * k, 2 * k)
    A[0, :k] = 1.0
    b = torch.zeros(1 + 3 * k)
    b[0] = 1.0
    for i in range(k):
        A[1 + 3 * i, k + i], A[2 + 3 * i, i], b[3 + 3 * i] = -1.0, -1.0, 1.0
    layer = conediff.torch.ConicLayer(None, A, [Zero(1), *[Exponential()] * k], b=b)

    def softmax(theta):
        return layer(q=torch.cat([-theta, -torch.ones_like(theta)], dim=-1)).x[..., :k]

    theta = torch.randn(3, k, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(softmax(theta), torch.softmax(theta, -1), atol=1e-9)
    assert relative(vmap(jacrev(softmax))(theta.detach()), vmap(jacrev(lambda t: torch.softmax(t, -1)))(theta.detach())) < 1e-8


def test_modules_are_copied_saved_and_compiled():
    layer, data = layer_and_data("orthant")
    P, q, A, b = constants(data)
    expected = layer(P, q, A, b).x
    model = torch.nn.Sequential(torch.nn.Linear(3, len(q), dtype=q.dtype), layer)
    for other in (copy.deepcopy(model)[1], pickle.loads(pickle.dumps(model))[1]):
        assert other.solution is None and torch.allclose(other(P, q, A, b).x, expected)
    compiled = torch.compile(lambda q: 2.0 * layer(P, q, A, b).x, backend="eager")
    assert torch.allclose(compiled(q), 2.0 * expected)
    assert "n=8" in repr(layer)


def test_one_solution_can_be_differentiated_many_times():
    layer, data = layer_and_data("orthant")
    solution = layer(*data)
    layer(*(d + 0.001 for d in constants(data)))
    first = torch.autograd.grad(solution.x.sum(), data, retain_graph=True)
    again = torch.autograd.grad(solution.x.sum(), data, retain_graph=True)
    assert all(torch.equal(f, a) for f, a in zip(first, again, strict=True))
    with torch.no_grad():
        assert not layer(*data).x.requires_grad


def test_a_layer_is_trained():
    # Learn q from solutions.
    made = program("second-order")
    layer = conediff.torch.ConicLayer(made.P, made.A, made.cones)
    rng = torch.Generator().manual_seed(0)
    b = torch.tensor(made.b) + 0.1 * torch.randn(8, len(made.b), dtype=torch.float64, generator=rng)
    target = layer(q=torch.tensor(made.q), b=b).x.detach()
    q = torch.nn.Parameter(torch.tensor(made.q) + 0.3)
    optimizer = torch.optim.Adam([q], lr=0.05)
    losses = []
    for _ in range(60):
        loss = (layer(q=q, b=b).x - target).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-2 * losses[0]
