"""The captioner that the settings name, ready to be asked."""

from collections.abc import Sequence

from backend.catalog.captioning.captioners import (
    Captioner,
    CaptionerSpec,
    CaptionerUnavailable,
    Picture,
    PictureFailed,
    Said,
    Turn,
    spec_of,
)
from backend.catalog.captioning.endpoint import Endpoint
from backend.catalog.captioning.wording import caption_of
from backend.ml.captioner import CocaCaptioner
from backend.ml.encoder import open_captioner
from backend.settings import Settings

LOCAL_LEASE_S = 600.0
"""A batch of a large model on a small processor takes minutes."""


class LocalCaptioner:
    """A CoCa of this process. It takes one call at a time and asks nobody.

    Args:
        coca: the model.
    """

    threads = 1
    requests = 0
    lease_s = LOCAL_LEASE_S

    def __init__(self, coca: CocaCaptioner) -> None:
        self._coca = coca
        self.batch = coca.batch

    def describe(self, pictures: Sequence[Picture]) -> list[Said | PictureFailed]:
        """What each of ``pictures`` shows."""
        return [_said(words) for words in self._coca.caption([picture.image for picture in pictures])]


def _said(words: str) -> Said | PictureFailed:
    try:
        return Said(caption_of(words), (Turn("", words),))
    except PictureFailed as failed:
        return PictureFailed(failed.reason, permanent=True)  # it would say the same again


def spec_in(settings: Settings) -> CaptionerSpec | None:
    """The captioner that ``settings`` name, ``None`` for ``off``."""
    return spec_of(settings.captioner, settings.caption_prompts, settings.caption_second_prompt)


def open_for(spec: CaptionerSpec | None, settings: Settings) -> Captioner:
    """``spec``, with the address, the key and the device that ``settings`` name.

    Raises:
        CaptionerUnavailable: the address is none.
        EncoderUnavailableError: the model cannot be had.
    """
    if spec is None:
        raise CaptionerUnavailable("Captioning is off.", found="MORELIKE_CAPTIONER=off", expected="openai:… or coca:…")
    if spec.kind == "coca":
        coca = open_captioner(
            spec.model, device=settings.device, precision=settings.precision, threads=settings.torch_threads
        )
        return LocalCaptioner(coca)
    key = settings.captioner_key.get_secret_value() if settings.captioner_key else None
    return Endpoint(
        spec,
        url=settings.captioner_url,
        key=key,
        timeout_s=settings.captioner_timeout_s,
        threads=settings.captioner_threads,
    )
