from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from model import checkpoint as checkpoints
from tests.model.networks import small_checkpoint
from tests.training.toy import make_data_set
from training import contact_sheet, report
from training.contact_sheet import PAGE, SIDE
from training.errors import TrainingError
from training.evaluation import Evaluation, evaluate

HOSTILE = '</script><img src=x onerror=alert(1)> "it\'s" & so on .'
NAME = "a\"b'<i>&.jpg"


class Page(HTMLParser):
    """What a browser would make of the page: each section's cards, and every address in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: list[list[dict[str, str | None]]] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        if tag == "div" and given.get("class") == "cards":
            self.sections.append([])
        elif tag == "figure":
            self.sections[-1].append(given)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen pictures, one of them wide, with a name and a caption that must not become HTML."""
    root = make_data_set(tmp_path_factory.mktemp("sheet") / "data", dev=15)
    for name in ("Flickr8k.token.txt", "Flickr_8k.devImages.txt"):
        text = (root / name).read_text().replace("dev4.jpg", NAME)
        (root / name).write_text(text.replace("A blue square .", HOSTILE))
    (root / "images" / "dev4.jpg").rename(root / "images" / NAME)
    Image.new("RGB", (1000, 500)).save(root / "images" / "dev0.jpg")
    return root


@pytest.fixture(scope="module")
def evaluations(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Evaluation]:
    folder = tmp_path_factory.mktemp("checkpoint")
    checkpoints.save(folder, small_checkpoint())
    return [evaluate(folder, data, "dev", beam) for beam in (1, 2)]


def with_scores(evaluation: Evaluation) -> Evaluation:
    """The evaluation with CIDEr-D 0.5, 1.5, 2.5, 0.5, ... and one caption at fault."""
    captions = [
        type(c)(c.image, c.beam, c.caption, -1.0, i % 3 + 0.5, ["ends in “a”"] * (i == 7), c.references)
        for i, c in enumerate(evaluation.captions)
    ]
    return evaluation._replace(captions=captions)


@pytest.fixture(scope="module")
def folder(evaluations: list[Evaluation], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("output")
    report.write(folder, [with_scores(evaluation) for evaluation in evaluations])
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / PAGE).read_text("utf-8"))


def positions(cards: list[dict[str, str | None]]) -> list[int]:
    return [int(card["data-position"] or "") for card in cards]


def test_best_then_worst_then_all(page: Page) -> None:
    best, worst, everything = map(positions, page.sections)
    assert len(best) == len(worst) == 12
    assert [i % 3 for i in best] == [2] * 5 + [1] * 5 + [0] * 2
    assert [i % 3 for i in worst] == [0] * 5 + [1] * 5 + [2] * 2
    assert [i % 3 for i in everything] == [0] * 5 + [1] * 5 + [2] * 5
    assert sorted(everything) == list(range(15))
    assert [card["data-rank"] for card in page.sections[2]] == [str(i) for i in range(15)]


def test_captions_at_fault_are_marked(page: Page) -> None:
    assert positions([card for card in page.sections[2] if "data-fault" in card]) == [7]
    assert "only those at fault (1)" in page.text
    assert "ends in “a”" in page.text


def test_every_caption_and_reference_is_shown(page: Page, evaluations: list[Evaluation]) -> None:
    for evaluation in evaluations:
        for caption in evaluation.captions:
            assert caption.image in page.text
            assert caption.caption in page.text
            assert all(reference in page.text for reference in caption.references)
    assert "greedy" in page.text
    assert "beam 2" in page.text


def test_no_text_becomes_html(page: Page) -> None:
    assert HOSTILE in page.text
    assert NAME in page.text
    assert page.tags.count("img") == page.tags.count("figure") == 12 + 12 + 15
    assert page.tags.count("script") == 1
    assert "i" not in page.tags


def test_nothing_from_elsewhere(page: Page, folder: Path) -> None:
    assert all((folder / address).is_file() for address in page.addresses)
    assert not re.search(r"https?:|@import|url\(", (folder / PAGE).read_text())


def test_thumbnails_are_small_and_keep_their_shape(page: Page, folder: Path) -> None:
    sizes = [Image.open(folder / address).size for address in dict.fromkeys(page.addresses)]
    assert len(sizes) == 15
    assert (SIDE, SIDE // 2) in sizes
    assert sizes.count((48, 40)) == 14


def test_a_second_write_takes_the_place_of_the_first(
    folder: Path, evaluations: list[Evaluation], tmp_path: Path
) -> None:
    contact_sheet.write(tmp_path, evaluations[:1])
    contact_sheet.write(tmp_path, evaluations[1:])
    text = (tmp_path / PAGE).read_text()
    assert "beam 2" in text
    assert "greedy" not in text


def test_a_folder_that_cannot_be_written(evaluations: list[Evaluation], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="file cannot be written: "):
        report.write(tmp_path / "file", evaluations)


def test_five_thousand_pictures(
    evaluations: list[Evaluation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of a few megabytes whose pictures wait until they are seen."""
    monkeypatch.setattr(contact_sheet, "_write_thumbnail", lambda source, target: (48, 40))
    evaluation = evaluations[0]
    many = evaluation._replace(
        captions=evaluation.captions[:10] * 500, examples=evaluation.examples[:10] * 500
    )
    contact_sheet.write(tmp_path, [many])
    text = (tmp_path / PAGE).read_text()
    assert text.count('loading="lazy"') == 5024
    assert len(text) < 10_000_000
