"""Feeds as shops export them become products; what is wrong with a row is said, and spoils no other row."""

import io
import json
import tracemalloc
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.blobs import BlobStore, content_hash
from backend.catalog.feeds.detect import Feed, open_feed
from backend.catalog.feeds.drafts import Draft, FeedBroken, Read
from backend.catalog.feeds.pictures import PictureMissing, open_pictures, with_sources
from backend.catalog.feeds.values import availability_of, images_of, plain_text, price_of, time_of
from backend.catalog.schemas import Rejected
from backend.errors import NotFound

FEEDS = Path(__file__).parent / "feeds"


def kept(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def drafts(feed: Feed) -> list[Draft]:
    found = list(feed.drafts)
    assert all(isinstance(one, Draft) for one in found), found
    return [one for one in found if isinstance(one, Draft)]


def by_id(feed: Feed) -> dict[str, dict[str, Any]]:
    return {draft.values["id"]: draft.values for draft in drafts(feed)}


def rejected(reads: list[Read]) -> list[Rejected]:
    return [one for one in reads if isinstance(one, Rejected)]


def test_shopify_export_becomes_products_with_variants_and_ordered_pictures() -> None:
    feed = open_feed(FEEDS / "shopify.csv")
    assert feed.format == "shopify"
    products = by_id(feed)
    scarf = products["wool-scarf"]
    assert scarf["title"] == "Wool Scarf"
    assert scarf["description"] == "Warm & soft. Hand wash"
    assert scarf["category"] == ["Apparel & Accessories", "Clothing Accessories", "Scarves"]
    assert scarf["images"] == [
        "https://cdn.shop.example/scarf-1.jpg?v=1",
        "https://cdn.shop.example/scarf-2.jpg?v=1",
        "https://cdn.shop.example/scarf-3.jpg",
        "https://cdn.shop.example/scarf-blue.jpg",
    ]
    assert scarf["captions"] == ["orange scarf folded", "a scarf on a hook"]
    assert scarf["attributes"] == {
        "tags": ["winter", "wool"],
        "gender": "unisex",
        "color": ["orange", "blue"],
        "type": "Scarf",
    }
    assert [(v["sku"], v["price"], v["availability"], v["attributes"]) for v in scarf["variants"]] == [
        ("00123", Decimal("29.90"), "in_stock", {"color": "Orange", "size": "M"}),
        ("SC-B", Decimal("31.00"), "out_of_stock", {"color": "Blue", "size": "L"}),
    ]
    mug = products["gift-mug"]
    assert (mug["category"], mug["variants"]) == (
        ["Mug"],
        [{"sku": "gift-mug", "attributes": {}, "availability": "backorder", "price": Decimal("9.5")}],
    )
    assert products["old-lamp"]["deleted"] is True  # archived: not for sale


def test_merchant_xml_gathers_variants_that_stand_apart() -> None:
    feed = open_feed(FEEDS / "merchant.xml")
    assert feed.format == "merchant-xml"
    found = {draft.values["id"]: draft for draft in drafts(feed)}
    toy = found["TOY"].values
    assert (toy["title"], toy["description"], toy["url"]) == (
        "Plush fox & friends",
        "A soft fox.",
        "https://shop.example/toy?size=s",
    )
    assert toy["category"] == ["Toys & Games", "Toys", "Plush"]
    assert toy["images"] == [f"https://shop.example/{name}.jpg" for name in ("toy", "toy-2", "toy-3")]
    assert toy["attributes"]["color"] == "orange"
    assert [(v["sku"], v["price"], v["availability"]) for v in toy["variants"]] == [
        ("TOY-S", Decimal("9.99"), "in_stock"),
        ("TOY-L", Decimal(15), "out_of_stock"),
    ]
    assert toy["variants"][0]["attributes"] == {"size": "S", "filling": "cotton"}
    assert "shipping" not in toy["attributes"]
    assert (found["MUG"].values["availability"], found["MUG"].values["currency"]) == ("preorder", "EUR")
    assert {(p.field, p.found) for p in found["BAD"].problems} == {("price", "cheap"), ("availability", "perhaps")}


def test_atom_and_tsv_feeds() -> None:
    vase = by_id(open_feed(FEEDS / "atom.xml"))["A1"]
    assert (vase["title"], vase["url"], vase["price"], vase["currency"]) == (
        "Vase",
        "https://shop.example/a1",
        Decimal("20.00"),
        "GBP",
    )
    feed = open_feed(FEEDS / "merchant.tsv")
    assert feed.format == "merchant-tsv"
    clock = by_id(feed)["M1"]
    assert clock["images"] == [f"https://shop.example/{name}.jpg" for name in ("m1", "m1-a", "m1-b")]
    assert (clock["price"], clock["currency"], clock["category"]) == (Decimal("1299.00"), "USD", ["Home", "Clocks"])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_tables_are_read_in_their_delimiter_and_encoding(tmp_path: Path, delimiter: str, encoding: str) -> None:
    rows = [["SKU", "Product Name", "Price", "Colour"], ["A-1", 'Täßchen, "fein"', "4.50 EUR", "grün"]]
    text = "\r\n".join(delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
    feed = open_feed(kept(tmp_path, "feed.csv", text.encode(encoding)))
    product = drafts(feed)[0].values
    assert (product["id"], product["title"], product["price"]) == ("A-1", 'Täßchen, "fein"', Decimal("4.50"))
    assert (product["attributes"], product["variants"]) == ({"colour": "grün"}, [{"sku": "A-1"}])
    assert bool(feed.notes) == (encoding == "cp1252")


def test_one_broken_byte_spoils_one_row_and_no_other_rows_letters(tmp_path: Path) -> None:
    content = b"id,title\n1,T\xc3\xa4sschen\n2,bro\xffken\n3,L\xc3\xb6ffel\n4,Gr\xc3\xbcn\n"
    feed = open_feed(kept(tmp_path, "feed.csv", content))
    assert "1 bytes are not UTF-8" in feed.notes[0]
    titles = [draft.values["title"] for draft in drafts(feed)]
    assert titles[0] == "Tässchen"
    assert titles[2:] == ["Löffel", "Grün"]
    assert "\udcff" in titles[1]  # which ProductIn refuses


def test_rows_that_do_not_fit_are_rejected_with_their_line(tmp_path: Path) -> None:
    content = 'id,title,price\n1,"two\nlines",1\n2,too,many,fields\n\n3,few\n4,"quoted" badly,1\n5,good,2\n'
    reads = list(open_feed(kept(tmp_path, "feed.csv", content)).drafts)
    assert [(one.line, one.id) for one in rejected(reads)] == [(4, "2"), (6, "3"), (7, None)]
    assert "4 fields" in rejected(reads)[0].problems[0].found
    assert rejected(reads)[0].problems[0].expected == "3 fields as in the header"
    assert [one.values["id"] for one in reads if isinstance(one, Draft)] == ["1", "5"]


def test_a_quotation_mark_that_is_never_closed_stops_the_feed(tmp_path: Path) -> None:
    """Else everything behind it would be one field, and a full sync would delete what it swallowed."""
    feed = open_feed(kept(tmp_path, "feed.csv", 'id,title\n1,fine\n2,"open\n' + "3,swallowed\n" * 1000))
    assert isinstance(next(feed.drafts), Draft)
    with pytest.raises(FeedBroken, match="line 3"):
        next(feed.drafts)


def test_huge_fields_are_read(tmp_path: Path) -> None:
    feed = open_feed(kept(tmp_path, "feed.csv", f"id,title,description\n1,T,{'word ' * 100_000}\n"))
    assert len(drafts(feed)[0].values["description"]) == 499_999


def test_jsonl_in_the_apis_fields_and_in_others(tmp_path: Path) -> None:
    lines = [
        {"id": "p1", "title": "T", "variants": [{"sku": "S1"}], "images": [{"url": "https://a.example/1.jpg"}]},
        {"product_id": 7, "name": "N", "image_url": "https://a.example/2.jpg", "dimensions": {"w": 3}, "price": 5},
        {"id": "p3", "deleted": True, "updated_at": "2026-01-01T00:00:00Z"},
    ]
    content = "\n".join(json.dumps(line) for line in lines) + '\n{"id": "p4"\n[]\n'
    reads = list(open_feed(kept(tmp_path, "feed.jsonl", content)).drafts)
    values = [one.values for one in reads if isinstance(one, Draft)]
    assert (values[0]["variants"], values[0]["images"]) == ([{"sku": "S1"}], ["https://a.example/1.jpg"])
    assert (values[1]["id"], values[1]["title"], values[1]["attributes"]) == ("7", "N", {"dimensions.w": 3})
    assert values[2]["deleted"] is True
    assert [one.line for one in rejected(reads)] == [4, 5]


def test_parquet_with_lists_times_and_pictures_as_bytes(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": ["a", "b"],
            "title": ["A", "B"],
            "category": [["Home", "Vases"], None],
            "price": [1.5, None],
            "updated_at": [datetime(2026, 1, 1, tzinfo=UTC), None],
            "image": [{"bytes": b"picture", "path": "x.jpg"}, None],
        }
    )
    pq.write_table(table, tmp_path / "feed.parquet")
    first, second = drafts(open_feed(tmp_path / "feed.parquet"))
    assert first.values["category"] == ["Home", "Vases"]
    assert first.values["images"] == [b"picture"]
    assert (first.values["price"], first.values["updated_at"]) == (Decimal("1.5"), datetime(2026, 1, 1, tzinfo=UTC))
    assert (second.values["images"], "price" in second.values) == ([], False)
    with pytest.raises(FeedBroken):
        open_feed(kept(tmp_path, "broken.parquet", b"PAR1 nonsense"))


XXE = '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><rss><item><id>&x;</id></item></rss>'
LAUGHS = '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><rss><item><id>&b;</id></item></rss>'


@pytest.mark.parametrize("content", [XXE, LAUGHS, "<rss><item><id>1</id></item><item>", "<rss><item></rss>"])
def test_hostile_and_broken_xml_stops_the_feed(tmp_path: Path, content: str) -> None:
    with pytest.raises(FeedBroken):
        list(open_feed(kept(tmp_path, "feed.xml", content)).drafts)


def test_xml_is_read_in_bounded_memory(tmp_path: Path) -> None:
    item = "<item><id>{}</id><title>T</title><description>" + "x" * 20_000 + "</description></item>"
    path = tmp_path / "feed.xml"
    with path.open("w") as file:
        file.write("<rss><channel>")
        file.writelines(item.format(number) for number in range(1500))
        file.write("</channel></rss>")
    tracemalloc.start()
    count = sum(1 for _ in open_feed(path).drafts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (count, peak < 5 * 2**20, path.stat().st_size > 28 * 2**20) == (1500, True, True)


def test_an_item_that_does_not_end_stops_the_feed(tmp_path: Path) -> None:
    with pytest.raises(FeedBroken, match="does not end"):
        list(open_feed(kept(tmp_path, "feed.xml", "<rss><item><title>" + "x" * 20 * 2**20)).drafts)


@pytest.mark.parametrize(
    ("content", "reason"), [("", "empty"), ('[{"id": 1}]', "JSON array"), ("PK\x03\x04", "archive"), ("\n\n", "header")]
)
def test_files_that_are_no_feed_say_so(tmp_path: Path, content: str, reason: str) -> None:
    with pytest.raises(FeedBroken, match=reason):
        open_feed(kept(tmp_path, "feed", content))


def test_missing_feed_and_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_feed(tmp_path / "none.csv")
    with pytest.raises(FeedBroken, match="format"):
        open_feed(FEEDS / "shopify.csv", "excel")


@given(content=st.binary(max_size=300), name=st.sampled_from(["f.csv", "f.jsonl", "f.xml", "f"]))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_read_rejected_or_refused(content: bytes, name: str, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    try:
        reads = list(open_feed(path).drafts)
    except FeedBroken:
        return
    assert all(isinstance(one, Draft | Rejected) for one in reads)


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("12.50 EUR", "12.50", "EUR"),
        ("EUR 12,50", "12.50", "EUR"),
        ("€1.299,00", "1299.00", "EUR"),
        ("1,299.00 USD", "1299.00", "USD"),
        ("1,299", "1299", None),
        ("1 299,5", "1299.5", None),
        ("1'299.50 CHF", "1299.50", "CHF"),
        ("1,234,567", "1234567", None),
        ("12,5", "12.5", None),
        ("15", "15", None),
        (7.25, "7.25", None),
    ],
)
def test_prices_as_shops_write_them(text: Any, amount: str, currency: str | None) -> None:
    assert price_of(text) == (Decimal(amount), currency)


@pytest.mark.parametrize("text", ["", "cheap", "12 bananas", True, "EUR", "--5", "1.2.3,4,5 EURO"])
def test_prices_that_are_none(text: Any) -> None:
    with pytest.raises(ValueError, match=r".*"):
        price_of(text)


def test_words_for_availability() -> None:
    said = ["In stock", "https://schema.org/OutOfStock", "pre-order", "on backorder", "0", "12", True, -1]
    assert [availability_of(one) for one in said] == [
        *("in_stock", "out_of_stock", "preorder", "backorder", "out_of_stock", "in_stock", "in_stock", "out_of_stock")
    ]
    with pytest.raises(ValueError, match="soon"):
        availability_of("soon")


def test_times_without_a_zone_are_utc() -> None:
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    for said in ("2026-05-01T12:00:00", "2026-05-01 14:00:00+02:00", "2026-05-01 12:00:00 UTC", noon.timestamp()):
        assert time_of(said) == noon


def test_html_becomes_text_without_its_scripts() -> None:
    page = (
        '<style>p{}</style><p onclick="x()">One<br>two</p><p>th<b>re</b>e &lt;b&gt;</p><script>bad()</script>&nbsp;end'
    )
    assert plain_text(page) == "One two three <b> end"
    assert plain_text("<script>never closed") == ""


def test_lists_of_pictures_are_parted_where_a_picture_ends() -> None:
    assert images_of("a.jpg, b.png;c d.webp") == ["a.jpg", "b.png", "c d.webp"]
    assert images_of("https://x.example/i?a=1,2|https://x.example/j") == [
        "https://x.example/i?a=1,2",
        "https://x.example/j",
    ]


def test_pictures_from_a_folder_stay_inside_it(tmp_path: Path) -> None:
    inside = tmp_path / "images"
    inside.mkdir()
    (inside / "a.jpg").write_bytes(b"a")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (inside / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (inside / "big.jpg").write_bytes(b"x" * 101)
    pictures = open_pictures(inside, max_bytes=100)
    blobs = BlobStore(tmp_path / "blobs")
    names = [
        "a.jpg",
        "../secret.jpg",
        str(tmp_path / "secret.jpg"),
        "link.jpg",
        "big.jpg",
        "none.jpg",
        "x\x00.jpg",
        ".",
    ]
    sources, lost = with_sources([*names, "file:///etc/passwd", "//cdn.example/b.jpg", b"bytes"], pictures, blobs)
    assert sources == [f"blob:{content_hash(b'a')}", "https://cdn.example/b.jpg", f"blob:{content_hash(b'bytes')}"]
    assert [one.name.partition(":")[0] for one in lost] == [
        *("../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", "big.jpg", "none.jpg", "x\x00.jpg", ".", "file")
    ]


def test_pictures_from_a_zip_and_its_bombs(tmp_path: Path) -> None:
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("shop/a.jpg", b"a")
        archive.writestr("shop/same.jpg", b"1")
        archive.writestr("other/same.jpg", b"2")
        archive.writestr("bomb.jpg", b"\x00" * 5_000_000)
        archive.writestr("../up.jpg", b"up")
    pictures = open_pictures(path, max_bytes=6_000_000)
    assert pictures.read("a.jpg") == pictures.read("shop/a.jpg") == b"a"
    for name in ("same.jpg", "bomb.jpg", "none.jpg"):
        with pytest.raises(PictureMissing):
            pictures.read(name)
    assert pictures.read("../up.jpg") == b"up"  # a member's name; nothing is written anywhere


def test_a_zip_whose_directory_lies_about_sizes_is_cut_off(tmp_path: Path) -> None:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", b"\x00" * 3_000_000)
    lying = raw.getvalue().replace((3_000_000).to_bytes(4, "little"), (50).to_bytes(4, "little"))
    pictures = open_pictures(kept(tmp_path, "lying.zip", lying), max_bytes=100)
    with pytest.raises(PictureMissing):
        pictures.read("a.jpg")


def test_pictures_that_are_neither_folder_nor_zip(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_pictures(tmp_path / "none", 10)
    with pytest.raises(PictureMissing, match="no zip"):
        open_pictures(kept(tmp_path, "x.zip", b"PK nonsense"), 10)
