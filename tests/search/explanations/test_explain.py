"""What an explanation says is what the refinement was computed from: the same weights, patches and words."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from backend.ml.feedback.inputs import ItemTokens, Summary, Tokens
from backend.ml.summarizer import TokenSummarizer
from tests.search.conftest import COLOURS, Search, Shop, ids, png
from tests.search.explanations.conftest import Ask, wide_png

WORDS = "a red toy"


@pytest.fixture
def refined(search: Search, refine: Ask, explain: Ask) -> dict[str, Any]:
    """The explanation of what a summarizer made of the first five products for ``WORDS``."""
    return explain(refine(search(text=WORDS, lexical=False)["query_id"], strategy="afs")["query_id"])


@pytest.fixture
def summary(shop: Shop, summarizer: TokenSummarizer, refined: dict[str, Any]) -> Summary:
    """The same, computed without the API."""
    items = [
        ItemTokens(_patches(shop, item["product_id"]), _words(shop, item["caption"]["text"]))
        for item in refined["items"]
    ]
    return summarizer.summarize(Tokens(_words(shop, WORDS), tuple(items)))


def _words(shop: Shop, text: str) -> np.ndarray:
    return shop.encoder.encode_texts_with_tokens([text]).tokens[0]


def _patches(shop: Shop, product_id: str) -> np.ndarray | None:
    if product_id == "bare":
        return None
    picture = Image.open(io.BytesIO(_picture(product_id))).convert("RGB")
    return shop.encoder.encode_images_with_tokens([picture]).tokens[0]


def _picture(product_id: str) -> bytes:

    return wide_png() if product_id == "wide" else png(COLOURS[product_id[:-1]], mark=int(product_id[-1]))


class TestATurnOfASummarizer:
    def test_weighs_products_by_the_attention_they_got(
        self, search: Search, refined: dict[str, Any], summary: Summary
    ) -> None:
        first = search(text=WORDS, lexical=False)
        assert (refined["about"], refined["strategy"], refined["turn"]) == ("turn", "afs", 2)
        assert refined["decision"] in ("moved", "blended")
        assert [item["product_id"] for item in refined["items"]] == ids(first)[:5]
        assert [item["position"] for item in refined["items"]] == [1, 2, 3, 4, 5]
        got = [
            image.sum() + caption.sum()
            for image, caption in zip(summary.image_attention, summary.caption_attention, strict=True)
        ]
        np.testing.assert_allclose([item["relevance"] for item in refined["items"]], got, atol=2e-3)
        assert sum(item["irrelevance"] for item in refined["items"]) == pytest.approx(1)

    def test_shows_the_patches_it_looked_at_scaled_over_all_pictures(
        self, refined: dict[str, Any], summary: Summary
    ) -> None:
        grids = np.stack([item["image"]["saliency"]["values"] for item in refined["items"] if item["image"]])
        patches = np.stack([attention[1:].reshape(4, 4) for attention in summary.image_attention if len(attention)])
        np.testing.assert_allclose(grids, (patches - patches.min()) / (patches.max() - patches.min()), atol=0.02)

    def test_shows_whole_words_where_they_stand(self, search: Search, refine: Ask, explain: Ask) -> None:
        first = search(text=WORDS, lexical=False)
        found = explain(refine(first["query_id"], strategy="afs", weights={"k": 10})["query_id"])
        captions = [item["caption"] for item in found["items"]]
        assert len(captions) == 10
        for caption in captions:
            assert [caption["text"][word["start"] : word["end"]] for word in caption["words"]] == [
                word["text"] for word in caption["words"]
            ]
            assert " ".join(word["text"] for word in caption["words"]) == caption["text"]
        assert any(caption["text"] == "an unbelievably wide toy" for caption in captions), "a word of several pieces"
        every = [word["saliency"] for caption in captions for word in caption["words"]]
        assert (min(every), max(every)) == (0, 1)


class TestOtherTurns:
    def test_over_captions_have_the_weights_of_the_softmax_and_no_saliency(
        self, shop: Shop, search: Search, refine: Ask, explain: Ask
    ) -> None:
        first = search(text=WORDS, lexical=False)
        found = explain(refine(first["query_id"], strategy="grf")["query_id"])
        vectors = shop.encoder.encode_texts([one["caption"]["text"] for one in found["items"]])
        raised = np.exp(vectors @ shop.encoder.encode_texts([WORDS])[0] / 0.05)
        np.testing.assert_allclose([one["relevance"] for one in found["items"]], raised / raised.sum(), atol=1e-4)
        pictures = [one["image"] for one in found["items"] if one["image"]]
        assert pictures
        assert {(one["saliency"], one["overlay"]) for one in pictures} == {(None, None)}
        assert {one["caption"]["words"] for one in found["items"]} == {None}

    def test_of_judgements_say_what_each_pulls(self, search: Search, refine: Ask, explain: Ask) -> None:
        first = search(text=WORDS, lexical=False)
        said = [{"product_id": "blue1", "value": 1}, {"product_id": "green1", "value": -1}]
        items = {
            item["product_id"]: item for item in explain(refine(first["query_id"], feedback=said)["query_id"])["items"]
        }
        assert items.keys() == {"blue1", "green1"}
        assert [items[one]["grade"] for one in ("blue1", "green1")] == [1, -1]
        assert [items[one]["pull"] for one in ("blue1", "green1")] == [0.5, -0.5]
        assert items["blue1"]["relevance"] is None

    def test_of_boxes_say_where_they_were_drawn(self, search: Search, refine: Ask, explain: Ask) -> None:
        first = search(text=WORDS, lexical=False)
        box = {"product_id": "wide", "value": 1, "image": 0, "box": [0.25, 0.0, 0.5, 1.0], "label": "the red part"}
        found = explain(refine(first["query_id"], feedback=[box], text="bright")["query_id"])
        assert (found["strategy"], found["text"]) == ("text+boxes", "bright")
        (item,) = found["items"]
        assert item["product_id"] == "wide"
        assert item["image"]["boxes"] == [{"box": [0.25, 0.0, 0.5, 1.0], "grade": 1, "label": "the red part"}]


def test_a_box_steers_the_summarizer_to_where_it_is_drawn(search: Search, refine: Ask, explain: Ask) -> None:
    first = search(text=WORDS, lexical=False)

    def grid(*boxes: list[float]) -> np.ndarray:
        said = [{"product_id": "wide", "value": 1, "box": box} for box in boxes]
        found = explain(
            refine(first["query_id"], feedback=said, weights={"boxes": {"mode": "afs"}, "strategy": "auto"})["query_id"]
        )
        assert found["items"][0]["product_id"] == "wide", "what a box is drawn on is weighed, wherever it stood"
        assert found["items"][0]["image"]["saliency"]["area"] == [0.25, 0, 0.75, 1]
        return np.array(found["items"][0]["image"]["saliency"]["values"])

    # the encoder sees the middle half of this picture: its left quarter is the left half of the patches
    left, right = grid([0.25, 0.0, 0.49, 1.0]), grid([0.51, 0.0, 0.75, 1.0])
    assert left[:, :2].min() > left[:, 2:].max()
    assert right[:, 2:].min() > right[:, :2].max()


class TestAListThatWasSearchedFor:
    def test_is_explained_by_what_its_first_products_would_weigh(self, search: Search, explain: Ask) -> None:
        first = search(text=WORDS, lexical=False)
        found = explain(first["query_id"])
        assert (found["about"], found["strategy"], found["decision"]) == ("products", "afs", None)
        assert [item["product_id"] for item in found["items"]] == ids(first)[:5]
        assert sum(item["relevance"] for item in found["items"]) == pytest.approx(1)

    def test_or_by_products_that_are_named(self, search: Search, explain: Ask) -> None:
        found = explain(search(text=WORDS, lexical=False)["query_id"], "wide", "bare", "unknown")
        wide, bare = found["items"]
        assert (wide["product_id"], bare["product_id"]) == ("wide", "bare")
        assert wide["image"]["saliency"]["area"] == [0.25, 0, 0.75, 1]
        assert bare["image"] is None
        assert bare["caption"]["words"] is not None

    def test_without_words_by_its_pictures_alone(self, search: Search, explain: Ask) -> None:
        found = explain(search(product_id="red1")["query_id"])
        assert found["strategy"] == "grf"
        assert found["items"][0]["image"]["saliency"] is None


class TestAnOverlay:
    def test_lies_over_the_picture_where_the_saliency_is(
        self, client: TestClient, search: Search, explain: Ask
    ) -> None:
        query_id = search(text=WORDS, lexical=False)["query_id"]
        (item,) = explain(query_id, "wide")["items"]
        drawn = _got(client, item["image"]["overlay"] + "&w=64&alone=true")
        assert (drawn.mode, drawn.size) == ("RGBA", (64, 32))
        opacity = np.asarray(drawn)[:, :, 3]
        assert not opacity[:, :16].any(), "the encoder does not see the first quarter"
        assert not opacity[:, 48:].any()
        row, column = np.unravel_index(np.argmax(item["image"]["saliency"]["values"]), (4, 4))
        assert opacity[row * 8 + 4, 16 + column * 8 + 4] > 180
        whole = np.asarray(_got(client, item["image"]["overlay"] + "&w=64"))
        assert (whole[:, :13] == COLOURS["grey"]).all()

    def test_is_known_by_its_tag(self, client: TestClient, search: Search) -> None:
        url = f"/v1/search/{search(text=WORDS, lexical=False)['query_id']}/explain/overlay?of=wide"
        answer = client.get(url)
        assert answer.headers["Cache-Control"] == "private, max-age=3600"
        again = client.get(url, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")

    def test_of_a_product_further_down_weighs_it_by_itself(self, client: TestClient, search: Search) -> None:
        first = search(text=WORDS, lexical=False)
        last = next(one for one in reversed(ids(first)) if one != "bare")
        assert _got(client, f"/v1/search/{first['query_id']}/explain/overlay?of={last}").format == "PNG"

    @pytest.mark.parametrize(
        ("asked", "status", "code"),
        [
            ("of=bare", 404, "not-explained"),
            ("of=wide&product_id=red1", 404, "not-explained"),
            ("of=nothing", 404, "not-explained"),
        ],
    )
    def test_of_nothing_says_why(self, client: TestClient, search: Search, asked: str, status: int, code: str) -> None:
        query_id = search(text=WORDS, lexical=False)["query_id"]
        answer = client.get(f"/v1/search/{query_id}/explain/overlay?{asked}")
        assert (answer.status_code, answer.json()["type"]) == (status, f"urn:morelike:problem:{code}")

    def test_where_no_summarizer_looked_there_is_none(self, client: TestClient, search: Search) -> None:
        query_id = search(product_id="red1")["query_id"]
        answer = client.get(f"/v1/search/{query_id}/explain/overlay?of=red2")
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:morelike:problem:no-saliency")


def _got(client: TestClient, url: str) -> Any:
    answer = client.get(url)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "image/png"
    return Image.open(io.BytesIO(answer.content))
