"""docs/RELIABILITY.md has all 74 rows, and each is held by the tests that it names."""

from __future__ import annotations

import re

from tests.hostile.table import DOCUMENT, marked_tests

ROWS = range(1, 75)


def test_every_row_is_held_by_the_tests_that_the_document_names() -> None:
    tests = marked_tests()
    assert sorted(tests) == list(ROWS)
    lines = re.findall(r"^\| (\d+) \| .+ \| (.*) \|$", DOCUMENT.read_text(), re.M)
    assert {int(row): re.findall(r"`([^`]+)`", names) for row, names in lines} == dict(sorted(tests.items()))
    assert [int(row) for row, _ in lines] == list(ROWS)


def test_every_row_says_what_was_measured() -> None:
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]*) \|", DOCUMENT.read_text(), re.M)
    assert [int(row) for row, measured in rows if measured.strip()] == list(ROWS)
