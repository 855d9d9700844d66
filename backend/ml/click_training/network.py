"""The heads of an arm while they are trained, and the one score through them, with gradients."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backend.ml.click_training.gallery import Gallery, Rowed, Scales
from backend.ml.click_training.plan import Arm, ClickPlan
from backend.ml.click_training.problem import Problem
from backend.ml.heads import Head, HeadConfig, ItemHeads, QueryHeads
from backend.ml.residual_head import ResidualHead
from backend.ml.scoring import Kind

Rows = NDArray[np.int64]


class Network(nn.Module):
    """Heads that begin as those in use, nearer to the identity, or as the identity.

    Args:
        problem: whose heads are in use.
        arm: which heads are trained.
        plan: their shape.
        pictures: whether queries by picture are learned from.
    """

    def __init__(self, problem: Problem, arm: Arm, plan: ClickPlan, *, pictures: bool) -> None:
        super().__init__()
        width = problem.log.asked.vectors.shape[1]
        start = QueryHeads() if arm.fresh else problem.production
        built = problem.item_heads
        self.kept = start.image if not pictures else None
        self.text = _begun(start.text, width, plan)
        self.image = _begun(start.image, width, plan) if pictures else None
        self.item_image = _begun(built.image, width, plan) if arm.items else None
        self.item_caption = _begun(built.caption, width, plan) if arm.items else None
        self.log_scale = nn.Parameter(torch.tensor(math.log(plan.scale)))
        self.limits = [math.log(one) for one in plan.scales]

    def queries(self, raw: Tensor, by_picture: Tensor) -> Tensor:
        """Raw rows (n, d) through the heads of their kinds."""
        if self.image is None or not by_picture.any():
            adapted: Tensor = self.text(raw)
            return adapted
        adapted = torch.empty_like(raw)
        adapted = adapted.index_put((~by_picture,), self.text(raw[~by_picture]))
        return adapted.index_put((by_picture,), self.image(raw[by_picture]))

    @property
    def scale(self) -> Tensor:
        """Inverse temperature."""
        return self.log_scale.exp()

    def clamp_scale(self) -> None:
        """Bring the scale back between its limits."""
        with torch.no_grad():
            self.log_scale.clamp_(*self.limits)

    def frozen(self) -> tuple[QueryHeads, ItemHeads | None]:
        """The heads as they are now; those of items where they are trained."""
        heads = QueryHeads(self.text.frozen(), self.kept if self.image is None else self.image.frozen())
        if self.item_image is None or self.item_caption is None:
            return heads, None
        return heads, ItemHeads(self.item_image.frozen(), self.item_caption.frozen())


def _begun(head: Head | None, width: int, plan: ClickPlan) -> ResidualHead:
    if head is None:
        return ResidualHead(HeadConfig(width, plan.hidden, plan.alpha, dropout=plan.dropout))
    return ResidualHead.of(head.scaled(plan.kept), dropout=plan.dropout)


class Scorer:
    """The one score of chosen products through a network.

    Args:
        problem: whose catalogue it is.
        network: whose heads.
        gallery: rows that the item heads start from: raw where they are trained, as the build holds them where not.
    """

    def __init__(self, problem: Problem, network: Network, gallery: Gallery) -> None:
        self.network, self.gallery = network, gallery
        kinds: list[Kind] = ["image" if kind == "image" else "text" for kind in problem.log.asked.kinds]
        self.scales = Scales.of(problem.calibration, kinds)

    def listed(self, z: Tensor, query: Tensor, image: Rows, caption: Rows) -> Tensor:
        """(l, k) scores of listed products.

        Args:
            z: (l, d) queries through their heads.
            query: (l,) rows in ``Asked``.
            image: (l, k) row of the picture that counts; -1 for none.
            caption: (l, k) likewise.
        """
        seen = torch.einsum("ld,lkd->lk", z, self.vectors("image", image))
        told = torch.einsum("ld,lkd->lk", z, self.vectors("caption", caption))
        return self._score(query, seen, told, image, caption)

    def crossed(self, z: Tensor, query: Tensor, production: Tensor, products: Rows) -> Tensor:
        """(n, m) scores of m products for each of n queries; ``production`` (n, d) says which rows count."""
        sides, rows = [], []
        for side, rowed in (("image", self.gallery.images), ("caption", self.gallery.captions)):
            padded = rowed.padded(products)  # (m, r)
            vectors = self.vectors(side, padded.ravel())
            cosines = (z @ vectors.T).view(len(z), *padded.shape)
            place = torch.zeros(len(z), len(products), dtype=torch.long)
            if padded.shape[1] > 1:
                with torch.no_grad():
                    shown = self._plain(rowed, padded.ravel())
                    before = (production @ shown.T).view(len(z), *padded.shape)
                    place = before.masked_fill(torch.from_numpy(padded < 0)[None], -2.0).argmax(dim=2)
            sides.append(cosines.gather(2, place[:, :, None])[:, :, 0])
            rows.append(np.broadcast_to(padded[:, 0], (len(z), len(products))))
        return self._score(query, sides[0], sides[1], rows[0], rows[1])

    def vectors(self, side: str, rows: Rows) -> Tensor:
        """(…, d) item rows through the network's heads, where it has any; any row stands for a missing one."""
        rowed = self.gallery.images if side == "image" else self.gallery.captions
        head = self.network.item_image if side == "image" else self.network.item_caption
        if head is None or not len(rowed.vectors):
            return self._plain(rowed, rows)
        distinct, places = np.unique(np.maximum(rows, 0), return_inverse=True)
        adapted: Tensor = head(self._plain(rowed, distinct))
        return adapted[torch.from_numpy(places.reshape(rows.shape))]

    def _plain(self, rowed: Rowed, rows: Rows) -> Tensor:
        if not len(rowed.vectors):
            return torch.zeros(*rows.shape, rowed.vectors.shape[1])
        return torch.from_numpy(rowed.vectors[np.maximum(rows, 0)])

    def _score(self, query: Tensor, seen: Tensor, told: Tensor, image: Rows, caption: Rows) -> Tensor:
        present = (torch.from_numpy(np.ascontiguousarray(rows >= 0)) for rows in (image, caption))
        return self.scales.only(query).score(seen, told, *present)
