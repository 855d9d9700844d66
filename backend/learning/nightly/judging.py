"""The fourth step of a night: the best arm is judged on what nothing was learned from."""

from backend.db import session_scope
from backend.learning.gates import judge_arms, new_products, served_latency, with_smaller_steps
from backend.learning.nightly.learned import ARM_LIST, FOLDER
from backend.learning.nightly.learning_from import problem_of, production_of, propensities_of
from backend.learning.nightly.night import Night
from backend.learning.nightly.work import Made
from backend.learning.thresholds import thresholds_of
from backend.ml.click_training.arm_files import load_arm, save_arm


def gates(night: Night) -> Made:
    """The verdict."""
    problem, production, now = problem_of(night), production_of(night), night.row.window_to
    folder, encoder = night.folder / FOLDER, production.encoder.id
    trained = [load_arm(folder, name, encoder) for name in night.read_json(ARM_LIST)]
    arms = [arm for arm in trained if arm is not None]
    if not night.row.options.get("identity"):  # a part of the way from what must be forgotten holds the rest of it
        arms = with_smaller_steps(problem, arms)
    for arm in arms:  # whichever is chosen is kept from its files
        if not (folder / f"{arm.name}.json").exists():
            save_arm(arm, folder, encoder)
    with session_scope(night.works.sessions) as session:
        fresh = new_products(session, problem.log.products, now)
        latency = served_latency(session, now)
    thresholds = thresholds_of(night.works.settings)
    verdict = judge_arms(
        problem,
        propensities_of(night),
        arms,
        thresholds,
        encoder_id=encoder,
        generation=production.generation,
        fresh=fresh,
        latency_ms=latency,
        seed=night.row.seed,
        told=night.told,
    ).to_json()
    night.write_json("gates.json", verdict)
    result = {name: verdict[name] for name in ("chosen", "passed", "route")}
    return Made(result, {"night": verdict, "thresholds": thresholds.to_json()})
