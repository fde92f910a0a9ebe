from __future__ import annotations

import pytest

from model.vocabulary import END_ID, SPECIALS, START_ID, UNK_ID, Vocabulary, detokenize, tokenize


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A dog runs .", ["a", "dog", "runs"]),
        ("The man's dog", ["the", "man", "'s", "dog"]),
        ("It doesn't bark!", ["it", "does", "n't", "bark"]),
        ("a t-shirt, 2.5 metres", ["a", "t-shirt", "2.5", "metres"]),
        ("six o'clock", ["six", "o'clock"]),
        ("dog’s", ["dog", "'s"]),
        ("", []),
        (" . ", []),
    ],
)
def test_tokenize(caption: str, words: list[str]) -> None:
    assert tokenize(caption) == words


@pytest.mark.parametrize("text", ["the man's dog", "it doesn't bark", "a t-shirt", "a black dog runs"])
def test_detokenize_undoes_tokenize(text: str) -> None:
    assert detokenize(tokenize(text)) == text


def test_detokenize_attaches_punctuation_of_vocabularies_that_have_it() -> None:
    assert detokenize(["a", "dog", ",", "a", "cat", "."]) == "a dog, a cat."


def test_build_keeps_frequent_words_most_frequent_first() -> None:
    vocabulary = Vocabulary.build(["a dog", "a cat", "a dog", "one bird"], threshold=2)
    assert vocabulary.words == [*SPECIALS, "a", "dog"]


def test_encode_and_decode() -> None:
    vocabulary = Vocabulary([*SPECIALS, "a", "dog"])
    assert vocabulary.encode("A dog sleeps") == [4, 5, UNK_ID]
    assert vocabulary.decode([START_ID, 4, UNK_ID, 5, END_ID, 4]) == ["a", "dog"]


def test_specials_must_lead() -> None:
    with pytest.raises(ValueError, match="must begin with <pad>"):
        Vocabulary(["a", "dog"])


def test_a_word_stands_once() -> None:
    with pytest.raises(ValueError, match="'dog' twice"):
        Vocabulary([*SPECIALS, "dog", "dog"])
