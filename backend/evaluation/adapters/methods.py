"""What is compared: ways to adapt a frozen encoder to pairs, each from pairs to a map a side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from backend.evaluation.adapters.paired import alone
from backend.ml.adapter_plan import AdapterEpoch, AdapterPlan, AdapterRun
from backend.ml.baselines import ProbePlan, TwoTowerPlan, fit_linear_probe, fit_two_towers
from backend.ml.exact_ranks import Through
from backend.ml.pairs import Pairs
from backend.ml.training import train_adapter

RATES = (3e-3, 3e-4)
"""Learning rates that are tried unless the plan says one, as `morelike train adapter` tries them."""

HARD = 4
"""Hard negatives a text, where a method has them."""

LEARNING_CURVE = (50, 100, 200, 400, 800, 1600, 3200, 6400, 12800)
ALPHAS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
SCALES = (1 / 0.07, 30.0, 50.0, 100.0)


@dataclass(frozen=True)
class Adapted:
    """What a fit came to.

    Args:
        text: map of texts; None leaves them as they are.
        image: map of pictures.
        epochs: passes after which it was best; 0 is untouched.
    """

    text: Through | None = None
    image: Through | None = None
    epochs: int = 0


Fit = Callable[[Pairs, Pairs, int], Adapted]
"""From pairs to learn from, pairs of other products to choose by, and a seed."""


@dataclass(frozen=True)
class Method:
    """A way to adapt.

    Args:
        name: in tables.
        fit: it.
        products: learned from at most; 0 for all.
    """

    name: str
    fit: Fit
    products: int = 0


@dataclass(frozen=True)
class Study:
    """Methods that differ in one thing."""

    name: str
    title: str
    methods: tuple[Method, ...]


ZERO_SHOT = Method("zero-shot", lambda *_: Adapted())
"""The encoder as it is: what everything is compared with."""


def chosen_methods(plan: AdapterPlan, names: Sequence[str] | None = None, rates: Sequence[float] = ()) -> list[Method]:
    """The rows of the main table, zero-shot first; those ``names`` name; None names all.

    Raises:
        ValueError: a name that is none of them.
    """
    made = {
        "naive": Method("naive two towers", _naive),
        "probe": Method("linear probe", _probe),
        "text": residual("residual, text", replace(plan, which="text"), rates),
        "both": residual("residual, both", replace(plan, which="both"), rates),
        "shared": residual("residual, shared", replace(plan, which="shared"), rates),
        "hard": residual("text + hard negatives", replace(plan, which="text", hard_negatives=HARD), rates),
        "alpha": residual("text, learned alpha", replace(plan, which="text", learn_alpha=True), rates),
    }
    if unknown := set(names or ()) - set(made):
        raise ValueError(f"found the methods {', '.join(sorted(unknown))}; expected some of {', '.join(made)}")
    return [ZERO_SHOT, *(method for name, method in made.items() if names is None or name in names)]


def chosen_studies(plan: AdapterPlan, names: Sequence[str] | None = None, rates: Sequence[float] = ()) -> list[Study]:
    """Sweeps around ``plan``; those ``names`` name; None names all.

    Raises:
        ValueError: a name that is none of them.
    """
    made = [
        Study("alpha", "Share of the adapter (alpha)", tuple(_by_alpha(plan, alpha, rates) for alpha in ALPHAS)),
        Study("pairs", "Learning curve: products learned from", tuple(_by_products(plan, rates))),
        Study("scale", "Inverse temperature at the start", tuple(_by_scale(plan, scale, rates) for scale in SCALES)),
    ]
    if unknown := set(names or ()) - {study.name for study in made}:
        known = ", ".join(study.name for study in made)
        raise ValueError(f"found the studies {', '.join(sorted(unknown))}; expected some of {known}")
    return [study for study in made if names is None or study.name in names]


def residual(name: str, plan: AdapterPlan, rates: Sequence[float] = ()) -> Method:
    """Residual heads by the loop that trains those that serve; of several ``rates`` the best on the choosing pairs."""

    def fit(learned: Pairs, chosen_by: Pairs, seed: int) -> Adapted:
        tried = [
            train_adapter(learned, chosen_by, replace(plan, seed=seed, rate=rate)) for rate in rates or (plan.rate,)
        ]
        run, best = max(((run, _best(run)) for run in tried), key=lambda one: one[1].merit)
        return Adapted(run.text, run.image, best.number)

    return Method(name, fit)


def _best(run: AdapterRun) -> AdapterEpoch:
    return next(epoch for epoch in reversed(run.history) if epoch.best)


def _by_alpha(plan: AdapterPlan, alpha: float, rates: Sequence[float]) -> Method:
    return residual(f"alpha {alpha:g}", replace(plan, alpha=alpha, learn_alpha=False), rates)


def _by_scale(plan: AdapterPlan, scale: float, rates: Sequence[float]) -> Method:
    return residual(f"scale {scale:.3g}", replace(plan, scale=scale), rates)


def _by_products(plan: AdapterPlan, rates: Sequence[float]) -> list[Method]:
    whole = residual("all products", plan, rates)
    return [*(replace(whole, name=f"{size:,} products", products=size) for size in LEARNING_CURVE), whole]


def _naive(learned: Pairs, _: Pairs, seed: int) -> Adapted:
    plan = TwoTowerPlan(seed=seed)
    towers = fit_two_towers(alone(learned), plan)
    return Adapted(towers.text, towers.image, plan.epochs)


def _probe(learned: Pairs, _: Pairs, seed: int) -> Adapted:
    plan = ProbePlan(seed=seed)
    towers = fit_linear_probe(alone(learned), plan)
    return Adapted(towers.text, towers.image, plan.epochs)
