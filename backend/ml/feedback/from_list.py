"""Feedback that nobody gave: the first products of a list taken for relevant, or for what relevance resembles."""

from dataclasses import dataclass, field

import numpy as np

from backend.ml.feedback.attentive import attentive
from backend.ml.feedback.geometry import Floats, Wide, known
from backend.ml.feedback.inputs import Feedback, Items, ItemTokens, Query, Summarizer, Summary, Tokens, Vector
from backend.ml.feedback.modality import Modalities
from backend.ml.feedback.policy import ListStrategy, Mix, Policy
from backend.ml.feedback.rocchio import Evidence, classic, extended, mixed


@dataclass(frozen=True)
class Move:
    """One step of a query.

    Args:
        query: where it leads.
        strategy: what was applied.
        relevance: (k,) what each shown item weighed in the positive vector.
        irrelevance: (k,) likewise in the negative one.
        summary: of a summarizer, where one was asked.
    """

    query: Query
    strategy: str
    relevance: Wide = field(default_factory=lambda: np.zeros(0))
    irrelevance: Wide = field(default_factory=lambda: np.zeros(0))
    summary: Summary | None = None


@dataclass(frozen=True)
class ListFeedback:
    """What the strategies over a list work on.

    Args:
        policy: hyper-parameters.
        feedback: the list.
        modalities: how vectors are mixed.
        summarizer: for ``afs``.
        worst: for the classic form.
    """

    policy: Policy
    feedback: Feedback
    modalities: Modalities
    summarizer: Summarizer | None = None
    worst: Items | None = None

    def move(self, strategy: ListStrategy, query: Query) -> Move | None:
        """Where ``strategy`` leads; None where the list lacks what it needs, or ``query`` is nothing."""
        if np.isnan(query.image).any() or not len(self.items.images):
            return None
        match strategy:
            case "rocchio":
                return self._classic(query)
            case "prf":
                return self._by_images(query)
            case "grf":
                return self._by_captions(query)
            case _:
                return self._by_summary(query, captions=strategy == "afs")

    def best(self, query: Query) -> Move | None:
        """Where the strongest strategy leads for which everything is there."""
        for strategy in _STRONGEST:
            found = self.move(strategy, query)
            if found is not None:
                return found
        return None

    @property
    def items(self) -> Items:
        """The first K of the list."""
        shown, k = self.feedback.shown, self.policy.k
        return Items(shown.images[:k], shown.captions[:k], shown.grades[:k])

    def vectors(self, strategy: str) -> Floats:
        """(k, d) what the weights of ``strategy`` are about."""
        items = self.items
        return items.captions if strategy == "grf" or not known(items.images).any() else items.images

    def similarity(self, query: Query, *, captions: bool) -> Wide:
        """(k,) w_i of the first K by their captions, where they may be looked at and there are any, else by images."""
        if captions and known(self.items.captions).any():
            return self._extended(query.caption, self.modalities.captions(self.items.captions)).relevance
        return self._extended(query.image, self.modalities.images(self.items.images)).relevance

    def _classic(self, query: Query) -> Move | None:
        over = self.policy.rocchio.over
        best, worst = _over(over, self.items), None if self.worst is None else _over(over, self.worst)
        if not known(best).any():
            return None
        prepared = self.modalities.images if over == "images" else self.modalities.captions
        evidence = classic(prepared(best), None if worst is None else prepared(worst))
        return _both(query, evidence, self.policy.rocchio.mix, "rocchio")

    def _by_images(self, query: Query) -> Move | None:
        images, captions = self.items.images, self.items.captions
        if not (known(images).any() or known(captions).any()):
            return None
        side = self._extended(query.image, self._side(images, captions, image=True))
        other = self._extended(query.caption, self._side(captions, images, image=False))
        mix = self.policy.prf
        moved = Query(_mixed(query.image, side, mix), _mixed(query.caption, other, mix))
        return Move(moved, "prf", side.relevance, side.irrelevance)

    def _by_captions(self, query: Query) -> Move | None:
        if not known(self.items.captions).any():
            return None
        evidence = self._extended(query.caption, self.modalities.captions(self.items.captions))
        return _both(query, evidence, self.policy.grf, "grf")

    def _by_summary(self, query: Query, *, captions: bool) -> Move | None:
        tokens = self.feedback.tokens
        if self.summarizer is None or tokens is None:
            return None
        seen = self._seen(tokens)
        if not any(_has_tokens(item, captions=captions) for item in seen.items):
            return None
        return summarized(self, self.summarizer, seen, query, captions=captions)

    def _seen(self, tokens: Tokens) -> Tokens:
        """Tokens of the first K. What boxes say is left to the strategy that is about boxes."""
        unsteered = tuple(ItemTokens(item.image, item.caption) for item in tokens.items[: len(self.items.images)])
        return Tokens(tokens.query, unsteered)

    def _extended(self, query: Floats, vectors: Wide) -> Evidence:
        return extended(self.modalities.query(query), vectors, self.policy.tau)

    def _side(self, own: Floats, other: Floats, *, image: bool) -> Wide:
        """The side's own vectors; where a list has none at all, those of the other side."""
        if known(own).any():
            return self.modalities.images(own) if image else self.modalities.captions(own)
        return self.modalities.image_side(own, other) if image else self.modalities.caption_side(other, own)


_STRONGEST: tuple[ListStrategy, ...] = ("afs", "grf", "prf")


def summarized(
    about: ListFeedback,
    summarizer: Summarizer,
    tokens: Tokens,
    query: Query,
    *,
    captions: bool,
    mix: Mix | None = None,
    steer_strength: float = 0.0,
) -> Move:
    """Where a summary of ``tokens``, those of the first K products, leads on both sides."""
    policy, modalities = about.policy, about.modalities
    summary = summarizer.summarize(tokens, captions=captions, steer_strength=steer_strength)
    evidence = attentive(
        modalities.images(about.items.images),
        modalities.captions(about.items.captions) if captions else None,
        summary,
        weighting=policy.negative_weighting,
        tau=policy.tau_negative,
        similarity=about.similarity(query, captions=captions),
    )
    moved = _both(query, evidence, mix or policy.afs, "afs" if captions else "afs_images")
    return Move(moved.query, moved.strategy, moved.relevance, moved.irrelevance, summary)


def _both(query: Query, evidence: Evidence, mix: Mix, strategy: str) -> Move:
    """Both sides moved by the same vectors."""
    moved = Query(_mixed(query.image, evidence, mix), _mixed(query.caption, evidence, mix))
    return Move(moved, strategy, evidence.relevance, evidence.irrelevance)


def _mixed(query: Floats, evidence: Evidence, mix: Mix) -> Vector:
    return mixed(query, evidence.positive, evidence.negative, mix).astype(np.float32)


def _over(over: str, items: Items) -> Floats:
    return items.images if over == "images" else items.captions


def _has_tokens(item: ItemTokens, *, captions: bool) -> bool:
    return item.image is not None or (captions and item.caption is not None)
