"""Where on pictures a summarizer looked: as a grid of numbers, and as a heat map over the stored original."""

from typing import Any

from PIL import Image

from backend.blobs import BlobStore
from backend.catalog.pictures import decode, upright_size
from backend.errors import Conflict, NotFound
from backend.ml.saliency import Saliency, over_picture, patch_saliency
from backend.search.explanations.overlay import as_png, heat_map, overlay
from backend.search.explanations.weighed import Weighed
from backend.search.query_encoders import QueryEncoders
from backend.search.query_vectors import PictureLimits


class NotExplained(NotFound):
    """The product asked for is not among those that an explanation is of, or no picture stood for it."""

    title = "Not part of this explanation"


class NoSaliency(Conflict):
    """No summarizer looked at this picture: there is none, or it has no words or no patches to go by."""

    title = "No saliency"


class LookedAt:
    """Patches of pictures.

    Args:
        encoders: know how patches lie.
        blobs: where pictures are.
        limits: of pictures.
    """

    def __init__(self, encoders: QueryEncoders, blobs: BlobStore, limits: PictureLimits) -> None:
        self._encoders = encoders
        self._blobs = blobs
        self._limits = limits

    def grids(self, weighed: Weighed) -> dict[str, Saliency]:
        """Patch saliency (rows, columns) of each product whose picture a summarizer looked at."""
        summary = weighed.step.outcome.summary
        if summary is None:
            return {}
        found = patch_saliency(summary.image_attention, self._encoders.serving(weighed.serving).encoder.layout)
        return {one: grid for one, grid in zip(weighed.step.shown, found, strict=True) if grid is not None}

    def numbers(self, weighed: Weighed, picture: str, grid: Saliency) -> dict[str, Any] | None:
        """``grid`` of the picture of this content hash, as ``schemas.PatchSaliency``; None where that is gone."""
        try:
            size = upright_size(self._blobs.get(picture), self._limits.max_pixels)
        except FileNotFoundError:
            return None
        area = self._encoders.serving(weighed.serving).encoder.framing.seen(*size)
        return {
            "rows": grid.shape[0],
            "columns": grid.shape[1],
            "values": [[round(float(value), 4) for value in row] for row in grid],
            "area": [round(edge, 6) for edge in area],
        }

    def drawn(self, weighed: Weighed, of: str, *, side: int, alone: bool) -> bytes:
        """PNG of the picture of the product ``of`` with its saliency over it, or of that ``alone``.

        Args:
            weighed: what is explained.
            of: id of a product.
            side: most pixels of the longer side.
            alone: whether the picture is left out.

        Raises:
            NotExplained: the product was not weighed, or has no picture.
            NoSaliency: no summarizer looked at its picture.
        """
        subjects = weighed.step.shown.get(of)
        if subjects is None or subjects.image is None:
            raise NotExplained(
                "no picture of this product is part of this explanation", found=of, expected=sorted(weighed.step.shown)
            )
        grid = self.grids(weighed).get(of)
        if grid is None:
            raise NoSaliency(
                "no summarizer looked at this picture", found=weighed.step.outcome.strategy, expected="afs"
            )
        picture = self._picture(subjects.image)
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        framing = self._encoders.serving(weighed.serving).encoder.framing
        heat = over_picture(grid, framing, picture.size).clip(0, 1)
        return as_png(heat_map(heat) if alone else overlay(picture, heat))

    def _picture(self, content_hash: str) -> Image.Image:
        try:
            return decode(self._blobs.get(content_hash), self._limits.max_pixels)
        except FileNotFoundError as error:
            raise NoSaliency("this picture is no longer kept", found=content_hash) from error
