"""What was played is there again in the morning, and a diary that was damaged keeps no page from opening."""

from datetime import timedelta
from pathlib import Path

from backend.demo.learn.diary import Diary, NightPlayed, Played, now

FIRST = Played("biased", now(), 1, "small wool scarf", "demo-00007", {"frozen": {"all": 0.4, "unseen": 0.4}})
PROMOTED = NightPlayed(1, 11, {"lists": 9}, 5, "promoted", "Better.", {"live": {"all": 0.5, "unseen": 0.5}})
REFUSED = NightPlayed(2, 12, {"lists": 9}, 5, "unchanged", "No update tonight.")


def test_a_play_is_read_as_it_was_written(tmp_path: Path) -> None:
    played = FIRST.with_night(PROMOTED).with_night(REFUSED)
    Diary(tmp_path / "diary.json").keep(played)
    assert Diary(tmp_path / "diary.json").play("biased") == played
    assert Diary(tmp_path / "diary.json").play("few") is None


def test_after_a_night_that_changed_nothing_the_generation_before_it_serves() -> None:
    played = FIRST.with_night(PROMOTED).with_night(REFUSED)
    assert [played.generation_after(night) for night in range(3)] == [1, 5, 5]


def test_a_night_that_is_written_down_again_takes_its_own_place() -> None:
    begun = FIRST.with_night(NightPlayed(1, 11))
    assert begun.generation_after(1) == 1
    assert begun.with_night(PROMOTED).nights == (PROMOTED,)


def test_the_last_play_is_the_one_that_began_last_and_few_are_kept(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary.json")
    later = Played("few", FIRST.began + timedelta(hours=1), 1, "a", None)
    diary.keep(later)
    diary.keep(FIRST)
    assert diary.last() == later
    for hour in range(2, 30):
        diary.keep(Played("bots", FIRST.began + timedelta(hours=hour), 1, "a", None))
    assert Diary(tmp_path / "diary.json").play("biased") is None


def test_a_damaged_diary_is_begun_anew(tmp_path: Path) -> None:
    for text in ("", "{", "[1]", '[{"scenario": "biased"}]'):
        (tmp_path / "diary.json").write_text(text)
        diary = Diary(tmp_path / "diary.json")
        assert diary.last() is None
        diary.keep(FIRST)
        assert Diary(tmp_path / "diary.json").last() == FIRST
