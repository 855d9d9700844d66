"""Which shoppers are programs, from what they did within a day.

Two kinds of signs, as in Buehrer, Stokes and Chellapilla (AIRWeb 2008): what no person's hands can do, and what people
do not do. Each threshold alone is one that people hardly reach ("strong criteria" of Duskin and Feitelson, WSCD 2009):
to take a person for a program costs a shop one voice among many, and the other mistake costs a little weight at most,
because learning caps what one shopper weighs as well. The numbers are ours; neither paper's traffic is a shop's.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Behaviour:
    """What one shopper did within a day. Acts are clicks and whatever is worth more: carts, purchases, judgements.

    Args:
        acts: how many.
        acts_at_once: most of them within ten minutes.
        lists_at_once: most lists served to them within ten minutes.
        clicks: how many of the acts are clicks on a product of a list.
        unseen: share of these clicks whose product was not reported as seen, 0 to 1; None where other shoppers of the
            same surface do not report it either.
        one_product: largest share of these clicks that is of one product, 0 to 1.
        lists_clicked: how many lists these clicks were on.
        variation: standard deviation of the time between acts, divided by its mean; None: fewer than three acts, or
            all at one moment.
    """

    acts: int = 0
    acts_at_once: int = 0
    lists_at_once: int = 0
    clicks: int = 0
    unseen: float | None = None
    one_product: float = 0.0
    lists_clicked: int = 0
    variation: float | None = None


@dataclass(frozen=True)
class Limits:
    """From where on behaviour is a program's.

    Args:
        acts: in a day.
        acts_at_once: in ten minutes; 120 are one every five seconds.
        lists_at_once: in ten minutes.
        enough: clicks or acts below which shares and intervals say nothing.
        unseen: share of clicks on what was not seen, 0 to 1.
        one_product: share of clicks that are of one product, 0 to 1, over at least ``enough`` lists.
        variation: of the time between acts, at most; people's is about 1 and more.
    """

    acts: int = 1000
    acts_at_once: int = 120
    lists_at_once: int = 200
    enough: int = 30
    unseen: float = 0.95
    one_product: float = 0.95
    variation: float = 0.1


def automated(did: Behaviour, limits: Limits | None = None) -> str | None:
    """The first limit that was reached, in words with its numbers; None where a person may have done all of it."""
    most = limits or Limits()
    if did.acts_at_once >= most.acts_at_once:
        return f"rate: {did.acts_at_once} acts within ten minutes"
    if did.lists_at_once >= most.lists_at_once:
        return f"rate: {did.lists_at_once} searches within ten minutes"
    if did.acts >= most.acts:
        return f"volume: {did.acts} acts within a day"
    if did.clicks >= most.enough and did.unseen is not None and did.unseen >= most.unseen:
        return f"unseen: {did.unseen:.0%} of {did.clicks} clicks on products that were not in view"
    if did.lists_clicked >= most.enough and did.one_product >= most.one_product:
        return f"one product: {did.one_product:.0%} of {did.clicks} clicks, over {did.lists_clicked} lists"
    if did.acts >= most.enough and did.variation is not None and did.variation <= most.variation:
        return f"even intervals: {did.acts} acts whose intervals vary by {did.variation:.1%}"
    return None
