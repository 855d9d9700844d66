"""Whatever bytes come as a picture, they are decoded upright in RGB or refused in words: nothing else is raised."""

import io
import os
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image

from backend.catalog.pictures import FORMATS, PictureRefused, decode, probe, thumbnail, verify
from tests.fuzz.strategies import altered

EXAMPLES = int(os.environ.get("MORELIKE_FUZZ_EXAMPLES", "150"))
MAX_PIXELS = 4_000_000


def saved(mode: str, format_: str, **options: object) -> bytes:
    out = io.BytesIO()
    noise = Image.effect_noise((24, 16), 80)
    noise.convert(mode).save(out, format_, **options)
    return out.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved("RGB", "JPEG", exif=exif)


def frames(format_: str) -> bytes:
    return saved("RGB", format_, save_all=True, append_images=[Image.new("RGB", (24, 16), "red")], duration=50)


ORIGINALS = {
    "JPEG": [saved("RGB", "JPEG"), saved("L", "JPEG"), saved("CMYK", "JPEG", progressive=True), turned()],
    "PNG": [saved(mode, "PNG") for mode in ("RGB", "RGBA", "LA", "P", "1", "I;16")] + [frames("PNG")],
    "WEBP": [saved("RGBA", "WEBP", lossless=True), saved("RGB", "WEBP"), frames("WEBP")],
    "GIF": [saved("P", "GIF", transparency=3), frames("GIF")],
}


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("act", [decode, verify, thumbnail], ids=lambda act: act.__name__)
def test_an_altered_picture_is_decoded_or_refused(act: object, format_: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=altered(ORIGINALS[format_]))
    def try_it(data: bytes) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is odd in a header
            try:
                facts = probe(data, MAX_PIXELS)
                if act is decode:
                    picture = decode(data, MAX_PIXELS)
                    assert picture.mode == "RGB"
                    assert sorted(picture.size) == sorted((facts.width, facts.height))
                elif act is verify:
                    assert verify(data, MAX_PIXELS) == facts
                else:
                    with Image.open(io.BytesIO(thumbnail(data, 16, MAX_PIXELS))) as small:
                        assert max(small.size) <= 16
            except PictureRefused:
                return

    try_it()
