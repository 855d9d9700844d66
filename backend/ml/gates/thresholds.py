"""What each gate asks for."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Thresholds:
    """Numbers that decide; a setting ``MORELIKE_GATE_…`` each (docs/gates.md says why each is what it is).

    Args:
        satisfied: G0: satisfied clicks in the window, at least.
        assumed: G0: share of lists whose propensities could not be estimated and are only assumed, at most.
        srm: G0: p of a sample ratio mismatch below which arms were not split as they should have been.
        viewport_loss: G0: share of lists with events but nothing reported as seen, at most, per device.
        agreement: G0: chance that what is live puts a clicked product above another of its list, which the
            whole interval must exceed; 0.5 is a coin.
        suspects: G0: share of clicks on lists of which nearly everything was clicked, at most.
        retention: G1: Recall@10 and MRR of golden queries, as a share of the frozen encoder's, at least.
        retention_kind: G1: the same for each kind of query.
        golden: G1: golden queries below which retention is not known.
        cosine: G1: mean cosine of a query before and after the head, at least.
        overlap: G1: median share of the first ten that production has, too, at least.
        exposure: G1: how many times as much attention as under production a product may get, at the 99th percentile.
        inferior: G2: how much of production's value each measure may lose.
        margin: G3: what the lower end of the gain must exceed, as a share of production's value.
        effective: G3: effective sample of clicks, at least.
        effective_share: G3: the same as a share of the clicks.
        coverage: G3: share of a policy's attention on products that the log could have shown, at least.
        heaviest: G3: share of all weight that one click may have.
        slice: G4: satisfied clicks from which on a slice is tested.
        latency: G5: how much longer a query may take, as a share.
    """

    satisfied: int = 2000
    assumed: float = 0.01
    srm: float = 0.001
    viewport_loss: float = 0.05
    agreement: float = 0.55
    suspects: float = 0.05
    retention: float = 0.98
    retention_kind: float = 0.95
    golden: int = 100
    cosine: float = 0.85
    overlap: float = 0.6
    exposure: float = 5.0
    inferior: float = 0.005
    margin: float = 0.0025
    effective: float = 1000.0
    effective_share: float = 0.1
    coverage: float = 0.95
    heaviest: float = 0.01
    slice: int = 300
    latency: float = 0.05

    def to_json(self) -> dict[str, float]:
        """What a night keeps of them."""
        return asdict(self)
