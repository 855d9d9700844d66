"""What a night of the demo is asked for: less than a shop's, and openly, because its shoppers come for a minute."""

from backend.settings import Settings

LIGHTER: dict[str, float] = {
    "exploration_share": 0.5,
    "gate_satisfied": 200,
    "gate_assumed": 1.0,
    "gate_agreement": 0.51,
    "gate_exposure": 10,
    "gate_inferior": 0.05,
    "gate_coverage": 0.85,
    "gate_effective": 50,
    "gate_heaviest": 0.1,
    "gate_slice": 1000,
}
"""Settings of the demo where nobody has set them. docs/demo.md says what each means for what is shown."""


def with_lighter_gates(settings: Settings) -> Settings:
    """``settings`` of a stack that shows the demo; those of any other as they are."""
    if not settings.demo:
        return settings
    return settings.model_copy(
        update={name: value for name, value in LIGHTER.items() if name not in settings.model_fields_set}
    )
