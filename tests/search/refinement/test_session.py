"""What a session carries from list to list: turns as inputs, read back as they were written."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from backend.search.refinement.session import MOST_JUDGED, Judgement, Turn, chain_hash, graded, said, turns_of

JUDGEMENTS = st.builds(
    Judgement,
    product_id=st.sampled_from(["p1", "p2", "p3"]),
    grade=st.none() | st.floats(-1, 1),
    picture=st.none() | st.just("a" * 64),
    box=st.none() | st.tuples(*[st.floats(0, 1)] * 4),
    label=st.none() | st.text(max_size=5),
)
TURNS = st.builds(
    Turn,
    policy=st.just("auto"),
    config=st.just({"drift_budget": 0.5}),
    shown=st.tuples(st.just("p1"), st.just("p2")),
    judgements=st.lists(JUDGEMENTS, max_size=4).map(tuple),
    signals=st.lists(JUDGEMENTS, max_size=2).map(tuple),
    text=st.none() | st.text(max_size=5),
    exclude_liked=st.none() | st.booleans(),
)


def turn(*judgements: tuple[str, float | None], signals: tuple[tuple[str, float], ...] = ()) -> Turn:
    return Turn(
        "auto",
        {},
        (),
        judgements=tuple(Judgement(*one) for one in judgements),
        signals=tuple(Judgement(*one) for one in signals),
    )


@given(st.lists(TURNS, max_size=3).map(tuple))
def test_turns_are_read_back_as_they_were_kept(turns: tuple[Turn, ...]) -> None:
    kept = orjson.loads(orjson.dumps({"turns": turns, "outcome": {}}))
    assert turns_of(kept) == turns
    assert chain_hash({}, turns_of(kept)) == chain_hash({}, turns)


def test_the_name_of_a_chain_tells_its_inputs_apart() -> None:
    chains = [(), (turn(),), (turn(), turn()), (turn(("p1", 1)),), (turn(("p1", -1)),), (turn(("p1", 1)), turn())]
    names = [chain_hash({"text": words}, chain) for chain in chains for words in ("a", "b")]
    assert len(set(names)) == len(names)


def test_what_was_said_last_of_a_product_counts_and_none_takes_back() -> None:
    turns = [turn(("p1", 1), ("p2", 0.5)), turn(("p1", -1)), turn(("p2", None), ("p3", 0.0))]
    assert said(turns) == {"p1": -1, "p3": 0.0}


def test_what_is_said_outweighs_what_clicks_let_guess_whichever_came_first() -> None:
    turns = [turn(("p1", -1)), turn(signals=(("p1", 0.5), ("p2", 0.1))), turn(signals=(("p2", 0.3),))]
    assert graded(turns) == {"p1": -1, "p2": 0.3}


def test_the_latest_hundred_count() -> None:
    turns = [turn(*((f"p{n}", 1.0) for n in range(start, start + 60))) for start in (0, 60)]
    counted = list(graded(turns))
    assert len(counted) == MOST_JUDGED
    assert (counted[0], counted[-1]) == ("p20", "p119")


def test_a_box_is_of_its_part_and_not_of_the_product() -> None:
    boxed = Turn("auto", {}, (), judgements=(Judgement("p1", -1.0, "a" * 64, (0, 0, 1, 1)),))
    assert (said([boxed]), len(boxed.drawn)) == ({}, 1)
