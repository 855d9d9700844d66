"""From what a model answered to the words of a caption."""

import re

from backend.catalog.captioning.captioners import PictureFailed
from backend.catalog.content import DESCRIPTION_CAPTION, cut, one_line

_THOUGHTS = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u2028-\u202e\ufeff]")
_LABEL = re.compile(r"^(caption|description|answer|sentence)\s*:\s*", re.IGNORECASE)
_DECLINED = re.compile(
    r"^(i['\u2019]?m sorry|i am sorry|sorry[,.! ]|i can(no|['\u2019])t\b|i am unable|i['\u2019]m unable|i am not able)",
    re.IGNORECASE,
)
_QUOTES = "\"'`*_\u201c\u201d\u2018\u2019\u00ab\u00bb "


def caption_of(answer: str) -> str:
    """The caption in ``answer``: one line, without quotation marks, labels or a model's thinking aloud.

    Raises:
        PictureFailed: there are no words in it, or the model declines.
    """
    text = one_line(_UNSEEN.sub("", _THOUGHTS.sub(" ", answer)).encode(errors="ignore").decode())
    text = cut(_LABEL.sub("", text.strip(_QUOTES)).strip(_QUOTES), DESCRIPTION_CAPTION)
    if not re.search(r"\w\w", text):
        raise PictureFailed("The model answered without words.")
    if _DECLINED.match(text):
        raise PictureFailed(f"The model declined: {text}", permanent=True)
    return text
