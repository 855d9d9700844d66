"""Benchmarks are read in the formats that they come in, and nothing shifts."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.catalog.feeds.pictures import PictureMissing
from backend.errors import NotFound
from backend.evaluation.datasets import DatasetUnreadable, open_dataset
from backend.evaluation.features import Features, compute_features
from backend.ml.encoder import Encoder

COLOURS = {"red.png": (200, 20, 20), "green.png": (20, 200, 20), "blue.png": (20, 20, 200)}


def picture(colour: tuple[int, int, int]) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (40, 32), colour).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures in a folder, and beside it the same in a zip."""
    (tmp_path / "photos").mkdir()
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        for name, colour in COLOURS.items():
            (tmp_path / "photos" / name).write_bytes(picture(colour))
            archive.writestr(f"inside/{name}", picture(colour))
    return tmp_path


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_karpathys_file_gives_the_pictures_of_one_split_with_all_their_sentences(folder: Path) -> None:
    images = [
        {"filename": "red.png", "split": "train", "sentences": [{"raw": "red"}]},
        {"filename": "green.png", "split": "test", "sentences": [{"raw": "green "}, {"raw": "a lawn"}]},
        {"filepath": "val2014", "filename": "blue.png", "split": "test", "sentences": [{"raw": "blue"}]},
    ]
    (folder / "dataset.json").write_text(json.dumps({"dataset": "coco", "images": images}))
    data = open_dataset(folder / "dataset.json", images=folder / "photos")
    assert [(photo.name, photo.captions) for photo in data.photos] == [
        ("green.png", ("green", "a lawn")),
        ("val2014/blue.png", ("blue",)),
    ]
    assert data.name == "dataset test"
    assert data.picture(1).getpixel((0, 0)) == COLOURS["blue.png"]  # though there is no folder val2014
    assert len(open_dataset(folder / "dataset.json", images=folder / "photos", split="train").photos) == 1


def test_json_lines_find_the_zip_of_their_name_and_any_folder_in_it(folder: Path) -> None:
    rows = jsonl(
        folder / "rows.jsonl",
        {"image": "red.png", "captions": ["one", "two"], "split": "val"},
        {"image": "blue.png", "captions": ["three"], "split": "train"},
    )
    data = open_dataset(rows)
    assert [photo.captions for photo in data.photos] == [("one", "two")]
    assert data.picture(0).getpixel((0, 0)) == COLOURS["red.png"]


def test_a_table_with_a_row_for_each_caption_makes_one_photo_of_each_picture(folder: Path) -> None:
    (folder / "captions.csv").write_text("image,caption\nred.png,one\nblue.png,sea\nred.png,two\ngreen.png,\n")
    data = open_dataset(folder / "captions.csv", images=folder / "photos")
    assert [(photo.name, photo.captions) for photo in data.photos] == [
        ("red.png", ("one", "two")),
        ("blue.png", ("sea",)),
    ]


def test_a_column_can_be_named_and_models_captions_come_from_a_file_of_their_own(folder: Path) -> None:
    rows = jsonl(folder / "rows.jsonl", {"file_name": "red.png", "title": "T", "label": "L"})
    (folder / "written.json").write_text(json.dumps({"red.png": "a red square", "other.png": "x"}))
    data = open_dataset(rows, caption_column="label", generated=folder / "written.json")
    assert data.photos[0].captions == ("L",)
    assert data.photos[0].generated == "a red square"
    written = jsonl(folder / "written.jsonl", {"image": "red.png", "caption": "red"})
    assert open_dataset(rows, generated=written).photos[0].generated == "red"


@pytest.mark.parametrize("text", ["", '{"image": "red.png"}', "[1]", "no json", '{"captions": ["x"]}'])
def test_captions_that_cannot_be_read_say_what_was_found(folder: Path, text: str) -> None:
    (folder / "rows.jsonl").write_text(text)
    with pytest.raises(DatasetUnreadable) as refused:
        open_dataset(folder / "rows.jsonl")
    assert refused.value.found


def test_a_split_or_a_file_that_is_not_there_is_named(folder: Path) -> None:
    rows = jsonl(folder / "rows.jsonl", {"image": "red.png", "captions": ["x"], "split": "val"})
    with pytest.raises(DatasetUnreadable, match="split") as refused:
        open_dataset(rows, split="test")
    assert refused.value.expected == ["val"]
    with pytest.raises(NotFound):
        open_dataset(folder / "absent.jsonl")


def test_the_key_changes_with_captions_and_pictures(folder: Path) -> None:
    rows = jsonl(folder / "rows.jsonl", {"image": "red.png", "captions": ["x"]})
    first = open_dataset(rows).key
    assert open_dataset(rows).key == first
    jsonl(rows, {"image": "red.png", "captions": ["y"]})
    assert open_dataset(rows).key != first
    assert open_dataset(rows, images=folder / "photos").key != open_dataset(rows).key


class TestFeatures:
    """The tiny encoder over three pictures, one of which is damaged."""

    @pytest.fixture
    def rows(self, folder: Path) -> Path:
        (folder / "photos" / "green.png").write_bytes(b"no picture")
        return jsonl(
            folder / "rows.jsonl",
            {"image": "red.png", "captions": ["a red thing", "red"], "generated": "something red"},
            {"image": "green.png", "captions": ["a green thing"]},
            {"image": "blue.png", "captions": ["a blue thing", "the sea", "sky"]},
        )

    def compute(self, rows: Path, encoder: Encoder, *, tokens: bool = True) -> Features:
        data = open_dataset(rows, images=rows.parent / "photos")
        return compute_features(encoder, data, rows.parent / "cache", tokens=tokens)

    def test_a_damaged_picture_keeps_its_place_and_no_row_shifts(self, rows: Path, tiny_encoder: Encoder) -> None:
        found = self.compute(rows, tiny_encoder)
        assert found.gallery.tolist() == [0, 2]
        blue = tiny_encoder.encode_images([Image.new("RGB", (40, 32), COLOURS["blue.png"])])
        np.testing.assert_allclose(found.images[2], blue[0], atol=1e-5)
        assert [list(found.captions_of(photo)) for photo in range(3)] == [[0, 1], [2], [3, 4, 5]]
        assert found.generated.tolist() == [6, -1, -1]
        np.testing.assert_allclose(found.texts[6], tiny_encoder.encode_texts(["something red"])[0], atol=1e-5)

    def test_tokens_are_those_of_the_encoder_to_half_precision(self, rows: Path, tiny_encoder: Encoder) -> None:
        found = self.compute(rows, tiny_encoder)
        words = tiny_encoder.encode_texts_with_tokens(["the sea"]).tokens[0]
        np.testing.assert_allclose(found.tokens_of_text(4), words, rtol=2e-3, atol=2e-3)
        assert found.tokens_of_image(2).shape == (tiny_encoder.layout.count, tiny_encoder.layout.width)

    def test_what_was_computed_is_read_again_and_tokens_are_added_when_asked_for(
        self, rows: Path, tiny_encoder: Encoder
    ) -> None:
        without = self.compute(rows, tiny_encoder, tokens=False)
        with pytest.raises(ValueError, match="tokens"):
            without.tokens_of_image(0)
        with_tokens = self.compute(rows, tiny_encoder)
        np.testing.assert_array_equal(without.texts, with_tokens.texts)
        said: list[str] = []
        data = open_dataset(rows, images=rows.parent / "photos")
        compute_features(
            tiny_encoder, data, rows.parent / "cache", tokens=True, progress=lambda what, *_: said.append(what)
        )
        assert said == []

    def test_pictures_that_are_not_there_are_refused_by_name(self, rows: Path) -> None:
        data = open_dataset(rows, images=rows.parent / "photos")
        with pytest.raises(PictureMissing):
            data.picture(1)
