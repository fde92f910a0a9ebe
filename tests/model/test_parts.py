"""Batches cut into parts."""

from __future__ import annotations

import pytest

from model.parts import exact, padded


@pytest.mark.parametrize("largest", [1, 4, 16])
@pytest.mark.parametrize("batch", range(40))
def test_exact_parts_are_powers_of_two_and_follow_each_other(batch: int, largest: int) -> None:
    parts = list(exact(batch, largest))
    assert [row for part, _ in parts for row in range(part.start, part.stop)] == list(range(batch))
    sizes = [size for _, size in parts]
    assert sizes == [part.stop - part.start for part, _ in parts]
    assert sizes == sorted(sizes, reverse=True)
    assert set(sizes) <= {1, 2, 4, 8, 16}
    assert max(sizes, default=1) <= largest
    assert len(sizes) <= batch // largest + 4


@pytest.mark.parametrize("batch", range(40))
def test_padded_parts_follow_each_other_and_are_run_with_little_in_vain(batch: int) -> None:
    parts = list(padded(batch, 16))
    assert [row for part, _ in parts for row in range(part.start, part.stop)] == list(range(batch))
    assert len(parts) <= batch // 16 + 3
    for part, size in parts:
        assert size in (1, 2, 4, 8, 16)
        assert size * 3 / 4 < part.stop - part.start <= size


@pytest.mark.parametrize(("batch", "sizes"), [(3, [2, 1]), (7, [8]), (12, [8, 4]), (13, [16]), (20, [16, 4])])
def test_padded_sizes(batch: int, sizes: list[int]) -> None:
    assert [size for _, size in padded(batch, 16)] == sizes
