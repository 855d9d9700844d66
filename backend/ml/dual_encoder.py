"""A frozen pair of towers: texts and images to unit vectors and tokens."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from backend.ml.image_tower import ImageTower, PatchLayout, Precision
from backend.ml.regions import Framing
from backend.ml.text_tower import TextTower
from backend.ml.transfer import Coming

Float32 = NDArray[np.float32]
Preprocess = Callable[[Image.Image], Tensor]


class ImageFeatures(NamedTuple):
    """Unit vectors (n, d) and patch tokens (n, Np, Dv) of n images."""

    vectors: Float32
    tokens: Float32


class TextFeatures(NamedTuple):
    """Unit vectors (n, d) and, of each text, its word tokens (L_i, Dt)."""

    vectors: Float32
    tokens: list[Float32]


class ImagesBegun:
    """Images that the device encodes by itself; :meth:`result` waits for them."""

    def __init__(self, coming: Coming) -> None:
        self._coming = coming

    def result(self) -> ImageFeatures:
        """Unit vectors, and tokens (n, 0, 0) where none were asked for.

        Raises:
            ValueError: some vectors are not finite.
        """
        vectors, tokens = self._coming.arrays()
        return ImageFeatures(_finite(vectors), tokens)


@dataclass(frozen=True)
class EncoderCard:
    """What an encoder directory says about itself.

    Args:
        name: short name, part of the encoder id.
        bpe_merges: byte-pair merges its tokenizer keeps; None keeps all.
        drawings_only: True where it knows drawings but no photographs.
    """

    name: str
    bpe_merges: int | None = None
    drawings_only: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"found the encoder name {self.name!r}; expected some text")


@dataclass(frozen=True)
class EncoderParts:
    """What an encoder is made of; `Encoder` takes the model over.

    Args:
        model: an open_clip model in fp32 on the CPU, with its weights.
        tokenizer: texts -> ids (n, context length).
        preprocess: an image -> pixels (3, h, w).
        card: its name and what it knows.
        source: what opens it again; a directory is absolute.
    """

    model: nn.Module
    tokenizer: Any
    preprocess: Preprocess
    card: EncoderCard
    source: str = ""


class Encoder:
    """A frozen pair of towers.

    Attributes:
        id: ``<name>@<first 12 of weights_hash>``; features are keyed by it.
        name: short name.
        source: what it was opened by, and can be opened by again; a directory is absolute.
        weights_hash: sha256 over every weight's name, type, shape and bytes, as loaded.
        dim: width of the vectors, d.
        causal_text: True where texts are cut to the longest of their batch.
        drawings_only: True where it knows no photographs.
        precision: arithmetic of the image tower; the text tower is always fp32.
        precision_note: what the check of that precision measured.
        layout: how the patch tokens of an image lie.
        framing: which part of a picture they see.
        overlaps: True where the device encodes by itself, so that a batch can be begun before the last one is there.
        word_width: width of a word token, Dt.
        parameters: numbers in its weights.
        preprocess: an image -> pixels (3, h, w); safe in other threads.
    """

    def __init__(self, parts: EncoderParts, device: torch.device, precision: Precision) -> None:
        model, self.name, self.drawings_only = parts.model, parts.card.name, parts.card.drawings_only
        _require_finite(model)
        self.source = parts.source
        self.weights_hash = hash_weights(model)
        self.id = f"{self.name[:67]}@{self.weights_hash[:12]}"
        self.parameters = sum(weight.numel() for weight in model.parameters())
        self.preprocess = parts.preprocess
        self.framing = Framing.of(cast(Any, model.visual).preprocess_cfg)
        self._images = ImageTower(cast(nn.Module, model.visual), device, precision)
        self.precision, self.precision_note = self._images.precision, self._images.note
        self.layout: PatchLayout = self._images.layout
        self.overlaps = device.type == "cuda"
        model.visual = nn.Identity()  # the image tower has its own; the rest is the text tower, which stays in fp32
        self._texts = TextTower(model.to(device), parts.tokenizer, _padding(parts.tokenizer), device)
        self.causal_text, self.dim, self.word_width = self._texts.causal, self._texts.dim, self._texts.width

    def encode_texts(self, texts: Sequence[str], *, batch: int = 256) -> Float32:
        """Texts -> (n, d) unit rows."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for where, ids in self._batches_by_length(texts, batch):
            vectors[where] = _unit(self._texts.encode(ids))
        return vectors

    def encode_texts_with_tokens(self, texts: Sequence[str], *, batch: int = 256) -> TextFeatures:
        """Texts -> unit rows and the word tokens of each, start and end of text included, padding not."""
        features = TextFeatures(
            np.empty((len(texts), self.dim), np.float32), [np.empty((0, 0), np.float32)] * len(texts)
        )
        for where, ids in self._batches_by_length(texts, batch):
            vectors, tokens = self._texts.encode_with_tokens(ids)
            features.vectors[where] = _unit(vectors)
            for position, rows in zip(where, tokens, strict=True):
                features.tokens[position] = rows.cpu().numpy()
        return features

    def word_pieces(self, text: str) -> list[bytes]:
        """What each word token of `encode_texts_with_tokens` stands for, in UTF-8; its start and end for nothing."""
        return self._texts.pieces(text)

    def encode_images(self, images: Sequence[Image.Image | Tensor], *, batch: int = 64) -> Float32:
        """Images, or their pixels from `preprocess` -> (n, d) unit rows."""
        vectors = np.empty((len(images), self.dim), dtype=np.float32)
        for start in range(0, len(images), batch):
            begun = self.begin_images(images[start : start + batch], tokens=False)
            vectors[start : start + batch] = begun.result().vectors
        return vectors

    def encode_images_with_tokens(self, images: Sequence[Image.Image | Tensor], *, batch: int = 64) -> ImageFeatures:
        """Images, or their pixels from `preprocess` -> unit rows (n, d) and patch tokens (n, Np, Dv)."""
        features = ImageFeatures(
            np.empty((len(images), self.dim), dtype=np.float32),
            np.empty((len(images), self.layout.count, self.layout.width), dtype=np.float32),
        )
        for start in range(0, len(images), batch):
            vectors, tokens = self.begin_images(images[start : start + batch], tokens=True).result()
            features.vectors[start : start + batch] = vectors
            features.tokens[start : start + batch] = tokens
        return features

    def stage_images(self, pictures: Sequence[Tensor]) -> Tensor:
        """Pixels from `preprocess` -> one batch (n, 3, h, w) where the encoder runs; safe in other threads."""
        return self._images.stage(pictures)

    def begin_images(self, images: Sequence[Image.Image | Tensor] | Tensor, *, tokens: bool) -> ImagesBegun:
        """Begin to encode one batch: images, their pixels, or what `stage_images` made of those."""
        pixels = images if isinstance(images, Tensor) else self._pixels(images)
        if tokens:
            vectors, rows = self._images.encode_with_tokens(pixels)
        else:
            vectors = self._images.encode(pixels)
            rows = vectors.new_empty((len(vectors), 0, 0))
        return ImagesBegun(Coming(nn.functional.normalize(vectors, dim=1), rows))

    def _pixels(self, images: Sequence[Image.Image | Tensor]) -> Tensor:
        return self.stage_images([x if isinstance(x, Tensor) else self.preprocess(x) for x in images])

    def _batches_by_length(self, texts: Sequence[str], batch: int) -> Iterator[tuple[list[int], Tensor]]:
        """Batches of texts of like length, so that little is padded, and where each text stood."""
        if not texts:
            return
        ids = self._texts.tokenize(texts)
        order = self._texts.lengths(ids).argsort(stable=True)
        for start in range(0, len(texts), batch):
            where = order[start : start + batch]
            yield where.tolist(), ids[where]


def hash_weights(model: nn.Module) -> str:
    """Sha256 over every weight's name, type, shape and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(memoryview(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


def _require_finite(model: nn.Module) -> None:
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise ValueError(f"found values in the weights {name} that are not finite numbers; the weights are damaged")


def _padding(tokenizer: Any) -> int:
    """Id behind the end of a text: 0 in open_clip's own tokenizer."""
    return int(getattr(getattr(tokenizer, "tokenizer", None), "pad_token_id", 0) or 0)


def _unit(vectors: Tensor) -> Float32:
    unit: Float32 = nn.functional.normalize(vectors, dim=1).cpu().numpy()
    return _finite(unit)


def _finite(unit: Float32) -> Float32:
    if not np.isfinite(unit).all():
        raise ValueError("found vectors that are not finite numbers; expected finite ones: the arithmetic overflowed")
    return unit
