"""What a captioner is: its name, what it is asked, and what it answers or why it does not."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, Protocol

from PIL import Image

from backend.errors import Unavailable

FIRST_PROMPTS = (
    "Describe the product in this picture in one sentence.",
    "What is for sale here? Answer with one sentence about how it looks.",
    "Say in one sentence what a shopper would see in this picture.",
    "In one sentence, tell somebody who cannot see this picture what it shows.",
    "Sum up this product picture in one sentence.",
)
"""One of them opens the conversation about a picture; which one follows from its content hash."""

SECOND_PROMPT = (
    "Now say it again in one sentence of fewer than ten words. Keep what tells this product from others like it: "
    "colour, material, pattern, shape, setting. Answer with the sentence only."
)
"""Ends the conversation: its answer is the caption."""

COCA_DECODING = "beam search of 3, at most 24 tokens"

Kind = Literal["openai", "coca"]


class CaptionerUnavailable(Unavailable):
    """The captioner that the settings name cannot be had."""

    title = "Captioner unavailable"


class PictureFailed(Exception):
    """Nothing usable was said of one picture; ``permanent`` where asking again would not help."""

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent


class CaptionerStopped(Exception):
    """Nothing can be asked now, whatever the picture; ``pause_s`` where it said for how long."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pause_s = pause_s


@dataclass(frozen=True)
class Turn:
    """A prompt and the answer to it; a captioner without prompts has empty ones."""

    prompt: str
    answer: str


@dataclass(frozen=True)
class Said:
    """A conversation about one picture, and the caption that it ended with."""

    text: str
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Picture:
    """A picture in RGB and the hash of its bytes."""

    content_hash: str
    image: Image.Image


class Captioner(Protocol):
    """Says what pictures show.

    Attributes:
        batch: pictures described at a time.
        threads: calls of :meth:`describe` at a time.
        requests: requests to somebody else's server that one picture takes; 0 where none is.
        lease_s: longest that one call takes.
    """

    batch: int
    threads: int
    requests: int
    lease_s: float

    def describe(self, pictures: Sequence[Picture]) -> list[Said | PictureFailed]:
        """What each of ``pictures`` shows.

        Raises:
            CaptionerStopped: nothing can be asked now.
        """
        ...


@dataclass(frozen=True)
class CaptionerSpec:
    """Which captioner: all that its captions depend on."""

    kind: Kind
    model: str
    prompts: dict[str, Any]

    @property
    def id(self) -> str:
        """``<name>@<hash>``: the source of its captions, at most 32 characters."""
        whole = json.dumps([self.kind, self.model, self.prompts], sort_keys=True)
        last = re.split(r"[/:]", self.model.rstrip("/"))[-1] if self.kind == "openai" else _coca_name(self.model)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", last)[:19].strip("-") or self.kind
        return f"{name}@{sha256(whole.encode()).hexdigest()[:12]}"


def _coca_name(model: str) -> str:
    if model.startswith(("local-dir:", "hf-hub:")):
        return model.rstrip("/").rpartition("/")[2]
    return model.partition(":")[0]


def spec_of(setting: str, first_prompts: Sequence[str] = (), second_prompt: str | None = None) -> CaptionerSpec | None:
    """The captioner that ``setting`` names; ``None`` for ``off``.

    Args:
        setting: ``off``, ``coca:MODEL`` as encoders are named, or ``openai:MODEL``.
        first_prompts: instead of ``FIRST_PROMPTS``, where there are some.
        second_prompt: instead of ``SECOND_PROMPT``; empty ends the conversation after its first turn.

    Raises:
        CaptionerUnavailable: the setting names no captioner.
    """
    if setting == "off":
        return None
    kind, _, model = setting.partition(":")
    if kind == "coca" and model:
        return CaptionerSpec("coca", model, {"decoding": COCA_DECODING})
    if kind == "openai" and model:
        second = SECOND_PROMPT if second_prompt is None else second_prompt
        return CaptionerSpec("openai", model, {"first": list(first_prompts or FIRST_PROMPTS), "second": second})
    raise CaptionerUnavailable(
        "MORELIKE_CAPTIONER names no captioner.",
        found=setting,
        expected="off, coca:NAME:PRETRAINED, coca:local-dir:PATH or openai:MODEL",
    )


def first_prompt(prompts: Sequence[str], content_hash: str) -> str:
    """The prompt that opens the conversation about this picture: always the same one."""
    return prompts[int(content_hash[:8], 16) % len(prompts)]
