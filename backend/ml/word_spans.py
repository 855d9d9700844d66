"""Where the word tokens of a text stand in it: whole words, with all the pieces that a tokenizer cut them into."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_WORD_END = "</w>"


@dataclass(frozen=True)
class WordSpan:
    """One word of a text.

    Args:
        start: of its first character in the text, from 0.
        end: behind its last character.
        tokens: places of its pieces among the text's word tokens.
    """

    start: int
    end: int
    tokens: tuple[int, ...]


def word_spans(text: str, pieces: Sequence[bytes]) -> tuple[WordSpan, ...]:
    """The words of ``text`` that a tokenizer kept, in their order; punctuation is none.

    Args:
        text: as it was written: tokenizers lower it, and some repair or drop characters.
        pieces: what each word token stands for in UTF-8, empty for the start and the end of the text
            (`Encoder.word_pieces`).
    """
    owners = _owners(text, pieces)
    spans = []
    for word in _WORD.finditer(text):
        tokens = {owner for owner in owners[word.start() : word.end()] if owner is not None}
        if tokens:
            spans.append(WordSpan(word.start(), word.end(), tuple(sorted(tokens))))
    return tuple(spans)


def piece_bytes(tokenizer: Any, ids: Sequence[int]) -> list[bytes]:
    """What each id stands for in UTF-8; a letter may be cut in two, and the start and end of a text stand for nothing.

    Args:
        tokenizer: open_clip's own, or its wrapper of one of transformers.
        ids: as it gave them.
    """
    if hasattr(tokenizer, "byte_decoder"):
        special = {*tokenizer.all_special_ids}
        kept = ["" if one in special else tokenizer.decoder[one].removesuffix(_WORD_END) for one in ids]
        return [bytes(tokenizer.byte_decoder[letter] for letter in piece) for piece in kept]
    inner = tokenizer.tokenizer
    special = {*inner.all_special_ids}
    return [b"" if one in special else inner.decode([one]).strip().encode() for one in ids]


def _owners(text: str, pieces: Sequence[bytes]) -> list[int | None]:
    """For each character of ``text`` the place of the token that holds it, or None."""
    by_byte = [place for place, piece in enumerate(pieces) for _ in piece]
    # of a text that was cut to the context length the last letter may be incomplete
    read = [(letter, place) for letter, place in _letters(b"".join(pieces).decode(errors="ignore"), by_byte)]
    written = [(low, place) for place, letter in enumerate(text) if not letter.isspace() for low in letter.lower()]
    owners: list[int | None] = [None] * len(text)
    for start, behind, length in _common([low for low, _ in written], [letter for letter, _ in read]):
        for step in range(length):
            owners[written[start + step][1]] = read[behind + step][1]
    return owners


def _letters(text: str, by_byte: Sequence[int]) -> list[tuple[str, int]]:
    """Characters but spaces, lowered, each with the token that holds its first byte."""
    letters, place = [], 0
    for letter in text:
        if not letter.isspace():
            letters += [(low, by_byte[place]) for low in letter.lower()]
        place += len(letter.encode())
    return letters


def _common(left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int, int]]:
    """Runs that both have, in order: (start in left, start in right, length)."""
    if left[: len(right)] == right:  # the tokenizer changed nothing, the usual case
        return [(0, 0, len(right))]
    blocks = SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks()
    return [(block.a, block.b, block.size) for block in blocks]
