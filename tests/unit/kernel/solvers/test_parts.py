"""The parts of a program: groups of hinges bound it from below, and what is brought back from a part is its own."""

import numpy as np
import pytest

from kernel.certificate import assess, lower_bound, violation
from kernel.problem import Settings
from kernel.solvers import RawStatus
from kernel.solvers import _solve_whole as solve_whole
from kernel.solvers.partition import Partition, common_weights, grouped, refined
from kernel.solvers.restriction import Hinges, Restriction, WorkingSet
from tests.unit.kernel.solvers.programs import add_risk, invested, least_risk, returns

SETTINGS = Settings()
T, N = 120, 15
R = returns(T, N)
P = np.random.default_rng(8).dirichlet(np.full(T, 3.0))


def solved(program):
    raw = solve_whole(program, SETTINGS)
    assert raw.status is RawStatus.SOLVED
    return raw


@pytest.mark.parametrize("word", ["cvar", "mad"])
@pytest.mark.parametrize("seed", range(5))
def test_any_groups_bound_the_program_from_below(word, seed):
    program = least_risk(R, P, word, 0.3)
    best = program.objective(solved(program).x)
    hinges = Hinges.of(program)
    labels = np.random.default_rng(seed).integers(0, 5 + 10 * seed, hinges.count)
    groups = np.unique(labels, return_inverse=True)[1]
    partition = Partition.by_means(program, hinges, groups, common_weights(program, hinges))
    raw = solved(partition.program)
    x, z = partition.expand(raw.x, raw.z)
    least = partition.program.objective(raw.x)
    assert least <= best * (1 + 1e-10)
    assert lower_bound(program, x, z) == pytest.approx(least, rel=1e-8), "the multipliers prove the same bound"


@pytest.mark.parametrize("word", ["cvar", "mad"])
def test_refining_only_raises_the_bound_and_ends_at_the_optimum(word):
    program = least_risk(R, P, word, 0.3)
    best = program.objective(solved(program).x)
    hinges = Hinges.of(program)
    weights = common_weights(program, hinges)
    groups = grouped(np.linspace(-1.0, 1.0, hinges.count), hinges.families, 4)
    bounds = []
    for _ in range(40):
        partition = Partition.by_means(program, hinges, groups, weights)
        raw = solved(partition.program)
        bounds.append(partition.program.objective(raw.x))
        x, _ = partition.expand(raw.x, raw.z)
        groups, short = refined(groups, weights * hinges.kinks(program, x), 3)
        if short <= 1e-13:
            break
    assert (np.diff(bounds) >= -1e-10 * best).all()
    assert bounds[-1] == pytest.approx(best, rel=1e-9)


def test_weights_that_differ_between_rows_are_not_common():
    builder = invested(N, 0.3)
    u, _ = add_risk(builder, R, P, "mad")
    builder.minimize_linear(u, P)
    builder.add_limit("other", [(u, P[::-1].copy())], 1.0)
    program = builder.build()
    assert common_weights(program, Hinges.of(program)) is None
    program = least_risk(R, P, "semi_deviation", 0.3)
    assert common_weights(program, Hinges.of(program)) is None


def test_each_kink_has_its_groups_the_larger_the_farther_off():
    kinks = np.concatenate([np.linspace(-1.0, -0.01, 200), np.linspace(0.01, 1.0, 100)])
    labels = grouped(kinks, np.zeros(300, dtype=np.intp), 10)
    assert set(labels[:200]).isdisjoint(labels[200:])
    assert sorted(set(labels)) == list(range(labels.max() + 1))
    sizes = np.bincount(labels)
    assert sizes[labels[199]] == 1
    assert sizes[labels[0]] == sizes.max()


def test_a_sample_speaks_for_its_groups():
    program = least_risk(R, P, "mad", 0.3)
    hinges = Hinges.of(program)
    groups = np.arange(hinges.count) // 4
    sample = Partition.by_sample(program, hinges, groups).program
    count = T // 4
    np.testing.assert_array_equal(sample.A[-count:, :N].toarray(), program.A[hinges.rows[::4]][:, :N].toarray())
    np.testing.assert_allclose(sample.q[-count:], 2 * P.reshape(count, 4).sum(axis=1))


@pytest.mark.parametrize("word", ["cvar", "mad", "semi_deviation", "worst"])
@pytest.mark.parametrize("ratio", [True, False])
def test_a_restriction_that_leaves_out_what_is_zero_keeps_the_solution(word, ratio):
    """Excluded: the weights that are zero at the optimum. Replaced: every hinge by the piece that it is on there."""
    program = least_risk(R, P, word, 0.3, ratio=ratio)
    best = solved(program)
    hinges = Hinges.of(program)
    excluded = np.zeros(program.size, dtype=bool)
    excluded[:N] = best.x[:N] <= 1e-9 * best.x[:N].max()
    kinks = hinges.kinks(program, best.x)
    outside, inside = kinks < -1e-7, kinks > 1e-7
    restriction = Restriction(program, hinges, WorkingSet(excluded, outside, inside))
    raw = solved(restriction.program)
    assert restriction.program.size < program.size - max(outside.sum() - 1, 0)
    x, z = restriction.expand(raw.x, raw.z)
    assert program.objective(x) == pytest.approx(program.objective(best.x), rel=1e-8)
    assert violation(program, x) <= 1e-8
    assert assess(program, x, z).gap <= 1e-7


def test_a_restriction_is_compressed_without_a_change_of_its_norms():
    program = least_risk(R, P, "semi_deviation", 0.3)
    hinges = Hinges.of(program)
    everything = np.zeros(program.size, dtype=bool)
    inside = np.ones(hinges.count, dtype=bool)
    restriction = Restriction(program, hinges, WorkingSet(everything, ~inside, inside))
    small = restriction.program
    assert len(small.b) <= N + 5
    x = np.random.default_rng(2).normal(size=small.size)
    full = np.zeros(program.size)
    full[restriction.columns] = x
    full[hinges.variables] = hinges.kinks(program, full)
    (cone,) = [block for block in program.blocks if not block.cone.is_linear]
    (image,) = [block for block in small.blocks if not block.cone.is_linear]
    s, t = program.b - program.A @ full, small.b - small.A @ x
    expected = np.linalg.norm(s[cone.start + 1 : cone.stop])
    assert np.linalg.norm(t[image.start + 1 : image.stop]) == pytest.approx(expected, rel=1e-12)
    assert t[image.start] == pytest.approx(s[cone.start])
