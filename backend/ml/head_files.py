"""Residual heads as bytes: a safetensors file whose header says what each head is and which encoder they belong to."""

import json
from collections.abc import Mapping
from typing import Any, get_args

from safetensors import SafetensorError
from safetensors.numpy import load, save

from backend.ml.heads import WEIGHTS, Head, ItemHeads, ItemSide, QueryHeads, QuerySide

FORMAT = "morelike-heads-1"


def dump_query_heads(heads: QueryHeads, encoder_id: str) -> bytes:
    """A safetensors file: the weights, and in its header what each head is and the encoder that they belong to."""
    return _dump("query", {"text": heads.text, "image": heads.image}, encoder_id)


def load_query_heads(data: bytes, encoder_id: str) -> QueryHeads:
    """What `dump_query_heads` wrote for this encoder.

    Raises:
        ValueError: the bytes are damaged, are item heads, or belong to another encoder.
    """
    return QueryHeads(**_load("query", get_args(QuerySide), data, encoder_id))


def dump_item_heads(heads: ItemHeads, encoder_id: str) -> bytes:
    """As `dump_query_heads`, for the heads of an index build."""
    return _dump("item", {"image": heads.image, "caption": heads.caption}, encoder_id)


def load_item_heads(data: bytes, encoder_id: str) -> ItemHeads:
    """What `dump_item_heads` wrote for this encoder.

    Raises:
        ValueError: the bytes are damaged, are query heads, or belong to another encoder.
    """
    return ItemHeads(**_load("item", get_args(ItemSide), data, encoder_id))


def _dump(of: str, heads: Mapping[str, Head | None], encoder_id: str) -> bytes:
    present = {side: head for side, head in heads.items() if head is not None}
    weights = {f"{side}.{name}": getattr(head, name) for side, head in present.items() for name in WEIGHTS}
    blends = {side: {"alpha": head.alpha, "gamma": head.gamma} for side, head in present.items()}
    stated = json.dumps({"encoder": encoder_id, "of": of, "heads": blends}, sort_keys=True)
    return save(weights, {FORMAT: stated})  # one string: the order of several is another in every process


def _load(of: str, sides: tuple[str, ...], data: bytes, encoder_id: str) -> dict[str, Head]:
    stated = read_header(data)
    try:
        if stated["of"] != of:
            raise ValueError(f"found {stated['of']} heads; expected {of} heads")
        if stated["encoder"] != encoder_id:
            raise ValueError(f"found heads of encoder {stated['encoder']}; expected {encoder_id}: they fit no other")
        blends = stated["heads"]
        if unknown := sorted(set(blends) - set(sides)):
            raise ValueError(f"found heads of {unknown}; expected {' and '.join(sides)}")
        weights: dict[str, Any] = load(data)
        return {
            side: Head(**{name: weights[f"{side}.{name}"] for name in WEIGHTS}, **blend)
            for side, blend in blends.items()
        }
    except (KeyError, TypeError, SafetensorError) as error:
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"found {type(error).__name__}: {why}; expected the weights of {of} heads") from error


def read_header(data: bytes) -> dict[str, Any]:
    """What heads state about themselves, of the file or its beginning: `encoder`, and α and γ by side in `heads`.

    A safetensors file has 8 bytes of length, then JSON whose values are strings.

    Raises:
        ValueError: it does not begin so.
    """
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return dict(json.loads(header["__metadata__"][FORMAT]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"found {type(error).__name__}; expected a safetensors file with {FORMAT}") from error
