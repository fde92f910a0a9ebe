from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tests.training.legacy_files import (
    Trap,
    attributes_of,
    make_words,
    vocabulary_python2,
    vocabulary_python3,
)
from training.legacy.errors import LegacyError
from training.legacy.vocabulary import read_vocabulary

WORDS = make_words(300)


def read(tmp_path: Path, raw: bytes) -> list[str]:
    (tmp_path / "vocab.pkl").write_bytes(raw)
    return read_vocabulary(tmp_path / "vocab.pkl").words


def refused(tmp_path: Path, raw: bytes, message: str) -> None:
    with pytest.raises(LegacyError, match=message) as caught:
        read(tmp_path, raw)
    assert str(caught.value).startswith(f"{tmp_path}/vocab.pkl ")
    assert str(caught.value).isprintable()


def test_python_2(tmp_path: Path) -> None:
    assert read(tmp_path, vocabulary_python2(WORDS)) == WORDS


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("module", ["__main__", "build_vocab"])
def test_python_3(tmp_path: Path, module: str, protocol: int) -> None:
    assert read(tmp_path, vocabulary_python3(attributes_of(WORDS), module, protocol=protocol)) == WORDS


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_command_is_refused_and_never_run(tmp_path: Path, protocol: int) -> None:
    sprung = tmp_path / "sprung"
    hidden = {**attributes_of(WORDS), "idx": Trap(sprung)}
    for raw in (pickle.dumps(Trap(sprung), protocol), vocabulary_python3(hidden, protocol=protocol)):
        refused(tmp_path, raw, r"asks for posix\.system where __main__\.Vocabulary was expected")
        assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung), protocol))
    assert sprung.exists(), "the trap works"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", r"asks for os\.system"),
        (b"(S'true'\nios\nsystem\n.", r"do not need \(INST\)"),
        (b"c__builtin__\neval\n(S'1'\ntR.", r"asks for __builtin__\.eval"),
        (b"c__main__\nVocabulary\n(S'1'\ntR.", r"would call __main__\.Vocabulary in an unknown way"),
        (b"c__main__\nVocabulary\n}S'__new__'\nI1\nsb.", "is damaged"),  # attributes for the class itself
        (b"c__main__\nVocabulary\n)\x81N}S'__class__'\nI1\ns\x86b.", r"do not need \(TUPLE2\)"),
        (b"\x82\x01.", r"do not need \(EXT1\)"),
        (b"Pid\n.", r"do not need \(PERSID\)"),
        (b"cos\x1b[2J\nsystem\n.", r"asks for os\\x1b\[2J\.system"),
        (b"c" + b"a" * 10_000 + b"\nb\n.", "asks for a{60}… where"),
    ],
)
def test_other_tricks_are_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    refused(tmp_path, raw, message)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "raw",
    [
        b"}r\xff\xff\xff\xff.",  # Python's unpickler makes a table of 2³³ entries
        b"}p4294967295\n.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a text of 2⁶³ bytes
        b"X\xff\xff\xff\xffa.",
        b"\x8a\xff\x01.",
        b"(" * 100_000 + b".",
        b"N" + b")" * 100_000,
    ],
)
def test_bombs_are_refused_at_once(tmp_path: Path, raw: bytes) -> None:
    refused(tmp_path, raw, "is damaged|holds dict where|do not need")


@pytest.mark.parametrize("keep", [0, 1, 100, 1000, 0.5, 0.999])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_cut_off(tmp_path: Path, protocol: int, keep: float) -> None:
    raw = vocabulary_python3(attributes_of(WORDS), protocol=protocol)
    refused(tmp_path, raw[: int(keep if keep >= 1 else keep * len(raw))], "is damaged, cut off or no pickle")


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(LegacyError, match=r"vocab\.pkl cannot be read: No such file"):
        read_vocabulary(tmp_path / "vocab.pkl")


def test_other_files(tmp_path: Path) -> None:
    refused(tmp_path, pickle.dumps(WORDS), "do not need")
    refused(tmp_path, pickle.dumps({"<pad>": 0}), "holds dict where an object of __main__.Vocabulary was")
    refused(tmp_path, b"PK\x03\x04 and so on", "do not need|is damaged")
    refused(tmp_path, b'["<pad>", "<start>"]', "is damaged|do not need")
    refused(tmp_path, b"", "no pickle: it is empty")
    page = b"<!DOCTYPE html>\n<title>404 Not Found</title>"
    refused(tmp_path, page, r'no pickle: 44 bytes that begin with "<!DOCTYPE html>\\n<title>4?"')


def test_a_renamed_class(tmp_path: Path) -> None:
    raw = vocabulary_python3(attributes_of(WORDS), name="Vocab")
    refused(tmp_path, raw, r"asks for __main__\.Vocab where __main__\.Vocabulary was expected")
    raw = vocabulary_python3(attributes_of(WORDS), module="vocab")
    refused(tmp_path, raw, r"asks for vocab\.Vocabulary where")


def test_renamed_attributes(tmp_path: Path) -> None:
    attributes = attributes_of(WORDS)
    attributes["w2i"] = attributes.pop("word2idx")
    message = "has the attributes idx, idx2word, w2i where idx, idx2word and word2idx were expected"
    refused(tmp_path, vocabulary_python3(attributes), message)
    refused(tmp_path, b"c__main__\nVocabulary\n)\x81.", "has the attributes none where")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["idx2word"].pop(200), "numbers its 299 words otherwise than from 0 to 298"),
        (lambda a: a.__setitem__("idx", 301), "numbers its 300 words otherwise"),
        (lambda a: a["word2idx"].__setitem__("w7", 9), "word2idx is not the reverse"),
        (lambda a: a["word2idx"].__setitem__("more", 300), "word2idx is not the reverse"),
        (lambda a: a["idx2word"].__setitem__(7, a["idx2word"][8]), "word2idx is not the reverse"),
        (lambda a: a["idx2word"].__setitem__(7, 7), "words that are not text"),
        (lambda a: a["idx2word"].__setitem__(7, "\ud800"), "words that are not text"),
        (lambda a: a.__setitem__("idx2word", 3), "two maps and a number"),
        (lambda a: a.__setitem__("idx", "300"), "two maps and a number"),
    ],
)
def test_maps_that_disagree(tmp_path: Path, change, message: str) -> None:
    attributes = attributes_of(WORDS)
    change(attributes)
    refused(tmp_path, vocabulary_python3(attributes), message)


def test_specials_elsewhere(tmp_path: Path) -> None:
    words = [*WORDS[4:], *WORDS[:4]]
    refused(
        tmp_path, vocabulary_python3(attributes_of(words)), "must begin with <pad>, <start>, <end>, <unk>"
    )
