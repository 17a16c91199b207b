"""Solutions and derivatives of every cone against the truth in fifty digits, and that the judge of it can say no."""

from types import SimpleNamespace

import numpy as np
import pytest
from judge import MP, System, Unjudged, compare, compare_tangent, exact, judge, largest
from support import SMALL, Program, conditioned, relative, with_near_rows

import conediff
from conediff import Exponential, GeneralizedPower, Nonnegative, Power, PsdTriangle, SecondOrder, Zero

#: Of a well-conditioned program, in each part.
EXACT = 1e-11
#: The default of the setting ``accuracy``: what is off by more must not be trusted.
ACCURACY = 2e-6
#: No estimated error may be too small by a larger factor.
UNDERSTATED = 5.0
#: Two ways to the same number in the judge's arithmetic; differences of its solutions lose the most digits.
DIGITS = MP.mpf(10) ** -50
DIFFERENCE = MP.mpf(10) ** -30

HOSTILE = {
    "condition 1e6": lambda name, seed: conditioned(name, 1e6, seed),
    "rows 2^-10 apart": lambda name, seed: with_near_rows(name, 2.0**-10, seed),
    "rows 2^-13 apart": lambda name, seed: with_near_rows(name, 2.0**-13, seed),
}


def solve(program):
    return conediff.solve(*program.data, program.cones)


def projection(point, cone):
    """minimize 1/2 |x - point|^2 subject to x in K."""
    m = len(point)
    return Program(np.eye(m), -np.asarray(point, dtype=float), -np.eye(m), np.zeros(m), [cone])


# The package against the judge


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", SMALL)
def test_well_conditioned_programs_are_right_to_eleven_digits(name, seed):
    program = conditioned(name, 10.0, seed)
    solution = solve(program)
    truth = judge(program, solution)
    for part in "xzs":
        assert relative(getattr(solution, part), getattr(truth, part)) < EXACT, part
    for found in compare(solution, truth, seed, count=2):
        assert found.trusted and max(found.parts.values()) < EXACT, found


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("hostility", HOSTILE)
@pytest.mark.parametrize("name", SMALL)
def test_estimated_errors_of_ill_conditioned_programs_are_not_far_below_the_true_ones(name, hostility, seed):
    program = HOSTILE[hostility](name, seed)
    solution = solve(program)
    for found in compare(solution, judge(program, solution), seed, count=2):
        assert found.understated < UNDERSTATED, found
        assert found.error <= ACCURACY or not found.trusted, found


@pytest.mark.parametrize(("name", "seed"), [("second-order", 11), ("power", 0), ("generalized power", 9), ("all", 1)])
def test_points_far_from_the_truth_are_not_trusted(name, seed):
    program = with_near_rows(name, 2.0**-17, seed)
    solution = solve(program)
    try:
        truth = judge(program, solution)
    except Unjudged:
        assert not solution.info()["trusted"] and not solution.vjp(dx=np.ones(8)).trusted
        return
    for found in compare(solution, truth, seed):
        assert found.error <= ACCURACY or not found.trusted, found


# Programs whose estimates were too small, or whose refinement stopped too early


@pytest.mark.parametrize(("name", "seed"), [("psd", 12), ("psd", 21), ("generalized power", 7), ("generalized power", 12)])
def test_estimated_errors_at_condition_1e8_are_not_far_below_the_true_ones(name, seed):
    program = conditioned(name, 1e8, seed)
    solution = solve(program)
    for found in compare(solution, judge(program, solution), seed, count=3):
        assert found.understated < UNDERSTATED, found


@pytest.mark.parametrize(("name", "seed"), [("power", 0), ("all", 1)])
def test_refinement_goes_on_while_its_steps_are_large(name, seed):
    program = with_near_rows(name, 2.0**-17, seed)
    judge(program, solve(program))


# Pieces that random programs do not meet


@pytest.mark.parametrize(
    ("point", "slopes"), [([-1.0, -1.0, 1.0], [1.0, 0.0, 1.0]), ([-1.0, -1.0, -1.0], [1.0, 0.0, 0.0])], ids=["face", "edge"]
)
def test_the_flat_face_of_the_exponential_cone(point, slopes):
    program = projection(point, Exponential())
    solution = solve(program)
    truth = judge(program, solution)
    assert largest(truth.vjp(np.ones(3), np.zeros(3), np.zeros(3)).q + exact(slopes)) < DIGITS
    for found in compare(solution, truth, 0):
        assert found.trusted and max(found.parts.values()) < EXACT, found


# The judge against what is known


def moved(program, directions, by):
    """The program with its data moved, in the judge's arithmetic."""
    return Program(*(exact(d) + by * exact(t) for d, t in zip(program.data, directions, strict=True)), program.cones)


@pytest.mark.parametrize("name", SMALL)
def test_true_derivatives_are_differences_of_true_solutions(name):
    program = conditioned(name, 10.0, 0)
    solution, rng = solve(program), np.random.default_rng(3)
    directions = [rng.standard_normal(d.shape) for d in program.data]
    directions[0] += directions[0].T
    truth, step = judge(program, solution), MP.mpf(10) ** -20
    tangent = truth.jvp(*directions)
    ends = []
    for sign in (1, -1):
        system = System(moved(program, directions, sign * step), solution)
        ends.append(system.parts(system.solve()))
    for true, there, back in zip(tangent, *ends, strict=False):
        assert largest(true - (there - back) / (2 * step)) < DIFFERENCE
    seeds = [rng.standard_normal(len(part)) for part in tangent]
    gradient = truth.vjp(*seeds)
    along = sum(exact(seed) @ part for seed, part in zip(seeds, tangent, strict=True))
    across = sum((g * exact(d)).sum() for g, d in zip(gradient, directions, strict=True))
    assert abs(along - across) < DIGITS


def test_the_judge_knows_the_ball():
    # minimize 1/2 |x|^2 - 2 x1 - (1 + t) x2 subject to |x| <= 1: x1 = 2/sqrt(4 + (1 + t)^2).
    A = np.vstack([np.zeros(2), -np.eye(2)])
    program = Program(np.eye(2), np.array([-2.0, -1.0]), A, np.array([1.0, 0.0, 0.0]), [SecondOrder(3)])
    truth = judge(program, solve(program))
    tangent = truth.jvp(np.zeros((2, 2)), [0.0, -1.0], np.zeros((3, 2)), np.zeros(3))
    assert abs(truth.x[0] - 2 / MP.sqrt(5)) < DIGITS and abs(tangent.x[0] + 2 / MP.sqrt(5) ** 3) < DIGITS


def test_the_judge_knows_the_log_barrier():
    # maximize x + l (log(1 - x) + log(1 + x)): x = sqrt(l^2 + 1) - l.
    A, b = np.zeros((6, 3)), np.zeros(6)
    A[0, 1], b[1], A[2, 0], b[2] = -1.0, 1.0, 1.0, 1.0
    A[3, 2], b[4], A[5, 0], b[5] = -1.0, 1.0, -1.0, 1.0
    program = Program(np.zeros((3, 3)), -np.ones(3), A, b, [Exponential(), Exponential()])
    truth = judge(program, solve(program))
    tangent = truth.jvp(np.zeros((3, 3)), [0.0, -1.0, -1.0], np.zeros((6, 3)), np.zeros(6))
    assert abs(truth.x[0] - (MP.sqrt(2) - 1)) < DIGITS and abs(tangent.x[0] - (1 / MP.sqrt(2) - 1)) < DIGITS


@pytest.mark.parametrize("cone", [Power(0.25), GeneralizedPower((0.25, 0.75), 1)])
def test_the_judge_knows_the_geometric_mean(cone):
    # maximize w subject to x^(1/4) y^(3/4) >= |w| and x + y = c: x = c/4, y = 3c/4.
    A = np.vstack([[1.0, 1.0, 0.0], -np.eye(3)])
    program = Program(np.zeros((3, 3)), np.array([0.0, 0.0, -1.0]), A, np.array([2.0, 0.0, 0.0, 0.0]), [Zero(1), cone])
    truth = judge(program, solve(program))
    tangent = truth.jvp(np.zeros((3, 3)), np.zeros(3), np.zeros((4, 3)), [1.0, 0.0, 0.0, 0.0])
    slope = exact([0.25, 0.75, MP.mpf(27) ** (MP.one / 4) / 4])
    assert largest(truth.x - 2 * slope) < DIGITS and largest(tangent.x - slope) < DIGITS


def test_the_judge_knows_the_nearest_semidefinite_matrix():
    program = projection(conediff.svec(np.diag([1.0, -2.0])), PsdTriangle(2))
    truth = judge(program, solve(program))
    tangent = truth.jvp(np.zeros((3, 3)), -np.ones(3), np.zeros((3, 3)), np.zeros(3))
    assert largest(tangent.x - exact([1, MP.one / 3, 0])) < DIGITS


# The judge says no


def test_a_wrong_derivative_is_found():
    program = conditioned("all", 10.0, 0)
    truth = judge(program, solve(program))
    # A program beside it, whose solution passes for this one's.
    other = solve(Program(program.P, program.q + 1e-8, *program.data[2:], program.cones))
    for found in compare(other, truth, 0):
        assert found.understated > UNDERSTATED and min(found.parts.values()) > EXACT, found
    directions = [np.ones(d.shape) for d in program.data]
    tangent = solve(program).jvp(*directions)
    assert max(compare_tangent(tangent, truth.jvp(*directions)).parts.values()) < EXACT
    tangent.z[3] *= 1.0 + 1e-9
    tangent.z[3] += 1e-9
    assert compare_tangent(tangent, truth.jvp(*directions)).parts["z"] > EXACT


@pytest.mark.parametrize(
    ("cone", "point"),
    [
        (Nonnegative(2), [1.0, 0.0]),
        (SecondOrder(3), [5.0, 3.0, 4.0]),
        (SecondOrder(3), [-5.0, 3.0, 4.0]),
        (PsdTriangle(2), [1.0, 0.0, 0.0]),
        (Exponential(), [0.0, 1.0, 1.0]),
        (Exponential(), [0.0, -1.0, 1.0]),
        (Power(0.5), [1.0, 1.0, 1.0]),
        (Power(0.5), [-1.0, 1.0, 0.0]),
        (GeneralizedPower((0.5, 0.5), 2), [5.0, 5.0, 3.0, 4.0]),
    ],
)
def test_a_kink_is_no_truth(cone, point):
    program = projection(point, cone)
    with pytest.raises(Unjudged):
        judge(program, solve(program))


def test_a_piece_read_wrongly_is_no_truth():
    # x = (1, 0), z = (0, 1); told that the first row is active, and that the second is not.
    program = projection([1.0, -1.0], Nonnegative(2))
    for z in ([1e-9, 1.0], [0.0, -1e-9]):
        with pytest.raises(Unjudged, match="outside"):
            judge(program, SimpleNamespace(x=np.array([1.0, 0.0]), z=np.array(z), s=np.zeros(2)))


def test_another_point_is_no_truth():
    program = conditioned("all", 10.0, 0)
    solution = solve(program)
    for part in "xzs":
        told = {name: getattr(solution, name).copy() for name in "xzs"}
        told[part] += 1e-3 * (told[part] != 0.0)
        with pytest.raises(Unjudged, match="another point"):
            judge(program, SimpleNamespace(**told))


def test_a_singular_program_is_no_truth():
    program = Program(np.eye(2), np.array([-1.0, -2.0]), np.ones((2, 2)), np.ones(2), [Zero(2)])
    with pytest.raises(Unjudged, match="singular"):
        judge(program, solve(program))


def test_half_a_matrix_is_no_program():
    program = Program(np.triu(np.ones((2, 2))), np.ones(2), np.eye(2), np.ones(2), [Nonnegative(2)])
    with pytest.raises(ValueError, match="symmetric"):
        judge(program, SimpleNamespace(x=np.ones(2), z=np.ones(2), s=np.ones(2)))
