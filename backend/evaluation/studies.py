"""What is compared: the strategies of the main table, and the sweeps and ablations beside it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from backend.evaluation.turns import Strategy
from backend.ml.feedback.policy import BUILT_IN, Classic, Mix, NearestNeighbors, NegativeNorm, Policy, PositiveNorm

AS_IS = Strategy("none", BUILT_IN["none"])

WEIGHTS = ((0.33, 0.33, 0.33), (0.6, 0.2, 0.2), (0.8, 0.1, 0.1), (0.8, 0.0, 0.2), (0.8, 0.2, 0.0))
"""(alpha, beta, gamma) of the paper's table 3."""

FURTHER_WEIGHTS = ((0.8, 0.2, 0.1), (0.8, 0.4, 0.2))
ALONE = Mix(1e-6, 1.0, 0.0)
"""The positive vector and next to nothing of the query."""

TEMPERATURES = (0.01, 0.05, 0.1, 0.25, 0.5)
FEEDBACK_ITEMS = (1, 2, 3, 4, 5, 7, 10)
NEGATIVE_TEMPERATURES = (0.01, 0.05, 0.2)
NORMS: tuple[tuple[PositiveNorm, NegativeNorm], ...] = (("raw", "raw"), ("raw", "convex"), ("unit", "unit"))
NEIGHBORS = (NearestNeighbors(k=4), NearestNeighbors(k=16), NearestNeighbors(k=64), NearestNeighbors(k=128))
TEXT_WEIGHTS = ((0.8, 0.1), (0.8, 0.2), (0.8, 0.4), (0.8, 0.8))


@dataclass(frozen=True)
class Study:
    """Strategies that are compared with plain retrieval and with one another, after one round of feedback.

    Args:
        name: short, unique.
        title: what is asked.
        strategies: the answers.
    """

    name: str
    title: str
    strategies: tuple[Strategy, ...]


@dataclass(frozen=True)
class Available:
    """What a benchmark has: which strategies make sense.

    Args:
        captions: feedback captions.
        words: further words for targets.
        summarizers: names of those at hand.
        references: reference queries.
    """

    captions: bool
    words: bool
    summarizers: tuple[str, ...] = ()
    references: bool = False


def main_strategies(available: Available, *, accumulate: bool = True) -> list[Strategy]:
    """The rows of the main table, plain retrieval first."""
    rows = [AS_IS, Strategy("rocchio, classic", BUILT_IN["rocchio"]), Strategy("prf", BUILT_IN["prf"])]
    if available.captions:
        rows += [Strategy("grf, as published", BUILT_IN["grf"]), Strategy("grf, unit", _unit_grf())]
    if available.summarizers and available.captions:
        rows += [Strategy("afs", BUILT_IN["afs"]), Strategy("afs, hard negatives", _hard_afs())]
    if available.summarizers:
        rows.append(Strategy("afs, images only", BUILT_IN["afs_images"]))
    if available.words:
        mixed = Policy(strategy="text", explicit_mode="rocchio")
        rows += [
            Strategy("explicit, averaged", Policy(strategy="text"), words=True),
            Strategy("explicit, .8/.1", mixed, words=True),
        ]
    rows.append(Strategy("auto", BUILT_IN["auto"]))
    return [replace(row, policy=replace(row.policy, accumulate=accumulate)) for row in rows]


def studies(available: Available, names: Sequence[str] | None = None) -> list[Study]:
    """Sweeps and ablations that are possible with what is ``available``; those ``names`` name; None names all."""
    made = [
        Study(name, title, tuple(strategies))
        for name, (title, make) in STUDIES.items()
        if (names is None or name in names) and (strategies := list(make(available)))
    ]
    return [study for study in made if len(study.strategies) > 1]


def _hard_afs() -> Policy:
    """AFS as ``auto`` mixes it: its negatives are the products of the list that resemble the query least."""
    return replace(BUILT_IN["auto"], strategy="afs", gate=False, list_budget=-1.0, drift_budget=-1.0)


def _unit_grf() -> Policy:
    return Policy(strategy="grf", grf=Mix())


def _bases(available: Available) -> Iterator[tuple[str, Policy]]:
    """The strategies over a list that a study varies."""
    yield "prf", BUILT_IN["prf"]
    if available.captions:
        yield "grf", BUILT_IN["grf"]
    if available.summarizers:
        yield ("afs", BUILT_IN["afs"]) if available.captions else ("afs, images only", BUILT_IN["afs_images"])


def _with_mix(policy: Policy, **changes: object) -> Policy:
    """The policy with changes to the mix of its own strategy."""
    own = "afs" if policy.strategy == "afs_images" else policy.strategy
    return replace(policy, **{own: replace(getattr(policy, own), **changes)})


def _by_weights(available: Available) -> Iterator[Strategy]:
    for name, policy in _bases(available):
        for alpha, beta, gamma in (*WEIGHTS, *FURTHER_WEIGHTS):
            label = f"{name} {alpha:g}/{beta:g}/{gamma:g}"
            yield Strategy(label, _with_mix(policy, alpha=alpha, beta=beta, gamma=gamma))


def _by_temperature(available: Available) -> Iterator[Strategy]:
    for name, policy in _bases(available):
        if not name.startswith("afs"):  # its weights are attention's
            yield from (Strategy(f"{name} tau {tau:g}", replace(policy, tau=tau)) for tau in TEMPERATURES)


def _by_items(available: Available) -> Iterator[Strategy]:
    for name, policy in _bases(available):
        yield from (Strategy(f"{name} K {k}", replace(policy, k=k)) for k in FEEDBACK_ITEMS)


def _by_version(available: Available) -> Iterator[Strategy]:
    yield Strategy("classic, images", BUILT_IN["rocchio"])
    yield Strategy("extended, images", BUILT_IN["prf"])
    if available.captions:
        yield Strategy("classic, captions", Policy(strategy="rocchio", rocchio=Classic(over="captions")))
        yield Strategy("extended, captions", BUILT_IN["grf"])


def _by_norm(available: Available) -> Iterator[Strategy]:
    for name, policy in _bases(available):
        for positive, negative in NORMS:
            norms = _with_mix(policy, positive_norm=positive, negative_norm=negative)
            yield Strategy(f"{name}, p {positive}, m {negative}", norms)


def _by_negatives(available: Available) -> Iterator[Strategy]:
    if not available.summarizers:
        return
    name, policy = list(_bases(available))[-1]
    yield Strategy(f"{name}, uniform", policy)
    for tau in NEGATIVE_TEMPERATURES:
        attended = replace(policy, negative_weighting="attention", tau_negative=tau)
        yield Strategy(f"{name}, attention, tau {tau:g}", attended)
    yield Strategy(f"{name}, by similarity", replace(policy, negative_weighting="similarity"))
    yield Strategy(f"{name}, no negative", _with_mix(policy, gamma=0.0))


def _by_modality(available: Available) -> Iterator[Strategy]:
    for name, policy in _bases(available):
        yield Strategy(f"{name}", policy)
        yield Strategy(f"{name}, means removed", replace(policy, remove_modality_mean=True))


def _by_neighbors(available: Available) -> Iterator[Strategy]:
    if not available.references:
        return
    for nnn in NEIGHBORS:
        yield Strategy(f"none, k {nnn.k}", replace(AS_IS.policy, nnn=nnn))
    best = NEIGHBORS[1]
    for name, policy in _bases(available):
        yield Strategy(f"{name}, k {best.k}", replace(policy, nnn=best))
    if available.captions:
        yield Strategy(f"grf, unit, k {best.k}", replace(_unit_grf(), nnn=best))
    if available.words:
        yield Strategy(f"explicit, k {best.k}", Policy(strategy="text", nnn=best), words=True)


def _by_loss(available: Available) -> Iterator[Strategy]:
    if not available.summarizers:
        return
    name, policy = list(_bases(available))[-1]
    for summarizer in available.summarizers:
        yield Strategy(f"{name} {summarizer}", policy, summarizer=summarizer)
        yield Strategy(f"{name} {summarizer}, alone", replace(policy, afs=ALONE), summarizer=summarizer)


def _by_words(available: Available) -> Iterator[Strategy]:
    if not available.words:
        return
    yield Strategy("averaged", Policy(strategy="text"), words=True)
    for alpha, beta in TEXT_WEIGHTS:
        mix = Mix(alpha, beta, 0.0)
        label = f"{alpha:g} query, {beta:g} words"
        yield Strategy(label, Policy(strategy="text", explicit_mode="rocchio", text=mix), words=True)


STUDIES: dict[str, tuple[str, Callable[[Available], Iterator[Strategy]]]] = {
    "loss": ("Weights of the summarizer, and its vector alone (the paper's table 2)", _by_loss),
    "weights": ("Alpha, beta, gamma (the paper's table 3)", _by_weights),
    "temperature": ("Temperature of the weights (the paper's table 6)", _by_temperature),
    "items": ("Feedback items K", _by_items),
    "rocchio": ("Classic and extended Rocchio", _by_version),
    "norms": ("Lengths of the positive and the negative vector", _by_norm),
    "negatives": ("Negatives of the summarizer", _by_negatives),
    "modality": ("Each modality's mean removed", _by_modality),
    "neighbors": ("Nearest-neighbour normalisation, alone and combined", _by_neighbors),
    "words": ("How the shopper's words are mixed in", _by_words),
}
