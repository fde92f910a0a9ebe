from __future__ import annotations

import pytest

from training.fluency import breaks_off, faults, measure, never_last, repetition, unfinished_endings


def test_words_that_people_hardly_ever_end_with() -> None:
    often = [["a", "dog", "with", "a", "ball"]] * 130  # "a" 260 times, "with" 130 times
    assert never_last([often]) == {"a"}
    assert never_last([often, [["half", "a"]]]) == set(), "261 uses are too few for one ending"
    assert never_last([often * 2]) == {"a", "with", "dog"}
    assert never_last([[[1, 2]] * 251, [[], [3]]]) == {1}, "ids as well as words"


def test_captions_that_break_off() -> None:
    assert breaks_off(["in", "a"], {"a"})
    assert breaks_off([], {"a"})
    assert not breaks_off(["a", "dog"], {"a"})


def test_two_words_that_break_off_where_one_does_not() -> None:
    people = [["a", "man", "in", "red"]] * 20 + [["a", "red", "ball"]] * 300 + [["the", "ball"]] * 50
    endings = unfinished_endings([people])
    assert endings == {"a", ("a", "red")}
    assert breaks_off(["with", "a", "red"], endings)
    assert not breaks_off(["in", "red"], endings)
    assert not breaks_off(["red"], endings)
    assert faults("a ball with a red", endings) == ["ends in “a red”"]
    assert faults("a red ball with a", endings) == ["ends in “a”"]


@pytest.mark.parametrize(
    ("caption", "twice"),
    [
        ("a dog dog runs", "dog"),
        ("a dog runs in a in a park", "in a"),
        ("runs on grass on grass", "on grass"),
        ("a man and a man", ""),
        ("a dog and a cat", ""),
        ("dog", ""),
        ("", ""),
        ("the red car the red car the red car", "the red car"),
        ("on on the on on the", "on"),
    ],
)
def test_words_said_twice_in_a_row(caption: str, twice: str) -> None:
    assert " ".join(repetition(caption.split())) == twice


def test_faults_are_told_in_words() -> None:
    assert faults("A dog with a .", {"a"}) == ["ends in “a”"], "punctuation is no word"
    assert faults("a dog dog on a", {"a"}) == ["ends in “a”", "says “dog” twice"]
    assert faults(".", {"a"}) == ["says nothing"]
    assert faults("a dog", {"a"}) == []


def test_counts_of_a_split() -> None:
    found = measure(["A dog on a", "a dog dog runs .", "a dog dog runs", "."], {"a"}, "train")
    assert found.bad_endings == 2 / 4
    assert found.repetitions == 2 / 4
    assert found.distinct_captions == 3
    assert found.distinct_words == 4
    assert found.mean_words == 12 / 4
    assert found.judged_by == "train"
