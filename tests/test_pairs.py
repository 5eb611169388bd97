"""What `make test` leaves to .ci/run."""

from itertools import combinations, product

from tests.pairs import paired


def test_every_two_values_meet() -> None:
    axes = (["a", "b", "c", "d"], [1, 2, 3, 4], [("--x", 5), ("--y", 6), ("--z", 7)], [True])
    cases = paired(*axes)
    assert [case.values for case in cases] == list(product(*axes))
    assert cases[0].id == "a-1---x 5-True"
    kept = [case.values for case in cases if not case.marks]
    assert len(kept) == 16
    for one, other in combinations(range(len(axes)), 2):
        assert {(values[one], values[other]) for values in kept} == set(product(axes[one], axes[other]))
