"""Experiments, layers and exploration over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from sqlalchemy.orm import Session

from backend.access.dependencies import AdminCaller, SessionDep, SettingsDep
from backend.errors import Unprocessable
from backend.events.units import load_unit_hasher
from backend.experiments.estimate import estimated, read_lately
from backend.experiments.exploration import ExplorationChange, ExplorationRead, change_exploration, read_exploration
from backend.experiments.layers import LayerChange, LayerList, LayerRead, change_layer, list_layers
from backend.experiments.lifecycle import (
    conclude_experiment,
    create_experiment,
    find_experiment,
    list_experiments,
    override,
    ramp_experiment,
    start_experiment,
    stop_experiment,
)
from backend.experiments.models import Experiment
from backend.experiments.plan import LayerName
from backend.experiments.result_schemas import ExperimentResults
from backend.experiments.results import NEEDED, results_of
from backend.experiments.schemas import (
    ConcludeIn,
    ExperimentIn,
    ExperimentList,
    ExperimentRead,
    OverrideIn,
    RampIn,
)
from backend.settings import Settings

router = APIRouter(prefix="/v1", tags=["experiments"])

ExperimentName = Annotated[
    str, Path(pattern="^e?[0-9]{1,18}$", description="Id of the experiment, such as e3.", examples=["e3"])
]
Given = Annotated[str | None, Query(min_length=1, max_length=256)]


@router.post("/experiments", operation_id="create_experiment", status_code=201)
def post_experiment(
    body: ExperimentIn, caller: AdminCaller, session: SessionDep, settings: SettingsDep
) -> ExperimentRead:
    """Make an experiment, as a draft, with an estimate of how long it takes."""
    return shown(session, create_experiment(session, body, actor=caller.name), settings)


@router.get("/experiments", operation_id="list_experiments")
def get_experiments(
    _caller: AdminCaller, session: SessionDep, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> ExperimentList:
    """Experiments, newest first."""
    return ExperimentList(experiments=[ExperimentRead.of(one) for one in list_experiments(session, limit)])


@router.get("/experiments/{experiment}", operation_id="get_experiment")
def get_experiment(
    experiment: ExperimentName, _caller: AdminCaller, session: SessionDep, settings: SettingsDep
) -> ExperimentRead:
    """One experiment, with an estimate while it has not ended."""
    return shown(session, find_experiment(session, _number(experiment)), settings)


@router.get("/experiments/{experiment}/results", operation_id="get_experiment_results")
def get_results(
    experiment: ExperimentName, _caller: AdminCaller, session: SessionDep, settings: SettingsDep
) -> ExperimentResults:
    """What it came to so far: arms, whether they may be compared, metrics with intervals, and what follows."""
    found = find_experiment(session, _number(experiment))
    return results_of(session, found, needed=settings.screen_units if found.purpose else NEEDED)


@router.post("/experiments/{experiment}/start", operation_id="start_experiment")
def post_start(
    experiment: ExperimentName, caller: AdminCaller, session: SessionDep, settings: SettingsDep
) -> ExperimentRead:
    """Let a draft assign units; every process follows within seconds."""
    return shown(session, start_experiment(session, _number(experiment), actor=caller.name), settings)


@router.post("/experiments/{experiment}/ramp", operation_id="ramp_experiment")
def post_ramp(
    experiment: ExperimentName, body: RampIn, caller: AdminCaller, session: SessionDep, settings: SettingsDep
) -> ExperimentRead:
    """Let more units in; nobody who is in changes arms."""
    return shown(session, ramp_experiment(session, _number(experiment), body, actor=caller.name), settings)


@router.post("/experiments/{experiment}/stop", operation_id="stop_experiment")
def post_stop(
    experiment: ExperimentName, caller: AdminCaller, session: SessionDep, settings: SettingsDep
) -> ExperimentRead:
    """Send everybody back to what is live."""
    return shown(session, stop_experiment(session, _number(experiment), actor=caller.name), settings)


@router.post("/experiments/{experiment}/conclude", operation_id="conclude_experiment")
def post_conclude(
    experiment: ExperimentName, body: ConcludeIn, caller: AdminCaller, session: SessionDep, settings: SettingsDep
) -> ExperimentRead:
    """Note what was decided, and end it if it runs."""
    return shown(session, conclude_experiment(session, _number(experiment), body, actor=caller.name), settings)


@router.put("/experiments/{experiment}/overrides", operation_id="put_override")
def put_override(
    experiment: ExperimentName, body: OverrideIn, caller: AdminCaller, session: SessionDep, settings: SettingsDep
) -> ExperimentRead:
    """Put a tester into an arm, before or after the start."""
    units = hashed_tester(session, body.shopper_id, body.user_id)
    return shown(session, override(session, _number(experiment), units, body.arm, actor=caller.name), settings)


@router.delete("/experiments/{experiment}/overrides", operation_id="delete_override")
def delete_override(
    experiment: ExperimentName,
    caller: AdminCaller,
    session: SessionDep,
    settings: SettingsDep,
    shopper_id: Given = None,
    user_id: Given = None,
) -> ExperimentRead:
    """Take a tester out of the arm they were put into."""
    units = hashed_tester(session, shopper_id, user_id)
    return shown(session, override(session, _number(experiment), units, None, actor=caller.name), settings)


@router.get("/exploration", operation_id="get_exploration")
def get_exploration(_caller: AdminCaller, session: SessionDep, settings: SettingsDep) -> ExplorationRead:
    """How many sessions explore, how, and what it costs at most."""
    return read_exploration(session, settings.exploration_share)


@router.put("/exploration", operation_id="change_exploration")
def put_exploration(
    body: ExplorationChange, caller: AdminCaller, session: SessionDep, settings: SettingsDep
) -> ExplorationRead:
    """Change how many sessions explore, or how; every process follows within seconds."""
    return change_exploration(session, body, default_share=settings.exploration_share, actor=caller.name)


@router.get("/layers", operation_id="list_layers")
def get_layers(_caller: AdminCaller, session: SessionDep) -> LayerList:
    """The layers with their salts, and how much of each is free."""
    return LayerList(layers=list_layers(session))


@router.put("/layers/{layer}", operation_id="change_layer")
def put_layer(layer: LayerName, body: LayerChange, caller: AdminCaller, session: SessionDep) -> LayerRead:
    """Let a layer in which nothing runs use another hash."""
    return change_layer(session, layer, body.hashing, actor=caller.name)


def shown(session: Session, experiment: Experiment, settings: Settings) -> ExperimentRead:
    """The experiment as answered, with an estimate while it has not ended."""
    ended = experiment.status in ("stopped", "concluded")
    estimate = None if ended else estimated(experiment, read_lately(session), settings.holdout_share)
    return ExperimentRead.of(experiment, estimate)


def hashed_tester(session: Session, shopper_id: str | None, user_id: str | None) -> list[str]:
    """Hashes of the one id that is given, under every key.

    Raises:
        Unprocessable: none is given, or both are.
    """
    given = {kind: each for kind, each in (("shopper", shopper_id), ("user", user_id)) if each is not None}
    if len(given) != 1:
        raise Unprocessable("a tester is named by one id", found=sorted(given), expected="shopper_id or user_id")
    ((kind, each),) = given.items()
    return load_unit_hasher(session).under_every_key(kind, each)


def _number(name: str) -> int:
    return int(name.removeprefix("e"))
