"""What the crowd did on web pages is read as what a person meant, whichever way it was written down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tutelage.cli.main import app
from tutelage.datasets.arrays.sampler import Sampler, load_columns
from tutelage.datasets.formats.miniwob.moves import NOTHING, UNSEEN, moves
from tutelage.datasets.formats.miniwob.raw import raw_files, read_raw
from tutelage.datasets.formats.miniwob.recording import Recording, UnusableRecording, in_one_form
from tutelage.datasets.formats.miniwob.tables import read_tables
from tutelage.datasets.formats.miniwob.trajectories import to_trajectory
from tutelage.datasets.formats.miniwob.turk import NO_PAGE, import_miniwob_turk
from tutelage.datasets.store import Store
from tutelage.envs.spaces import row_to_action
from tutelage.envs.suite import load_suite
from tutelage.envs.web.action_space import action_space, to_action
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.observation import read_elements
from tutelage.errors import TutelageError
from tutelage.tests.support.crowd_recording import (
    ASSIGNMENT,
    BODY,
    BOX,
    BUTTON,
    FIELD,
    LABEL,
    LIST,
    PANEL,
    Hand,
)
from typer.testing import CliRunner


def done(hand: Hand, folder: Path, **facts: Any) -> list[str]:
    return [str(move.action) for move in moves(recorded(hand, folder, **facts)).moves]


def recorded(hand: Hand, folder: Path, **facts: Any) -> Recording:
    one = read_raw(hand.write(folder, **facts))
    assert isinstance(one, Recording)
    return in_one_form(one)


SUBMIT = "click 7"


def submit(hand: Hand) -> Hand:
    return hand.click(BUTTON, 30, 190)


def test_letters_one_by_one_are_one_typing_of_what_the_field_held_in_the_end(tmp_path: Path) -> None:
    hand = Hand().click(FIELD).type("Abx").press(8).press(8).type("nn")
    made = moves(recorded(submit(hand), tmp_path))
    assert [str(one.action) for one in made.moves] == ["type 1 'Ann'", SUBMIT]
    assert made.moves[0].page == 0  # the page as it was before the field had the focus
    assert (made.moves[1].action.x, made.moves[1].action.y) == (0.25, 0.5)


def test_tab_leads_to_the_next_field_and_is_no_move_of_its_own(tmp_path: Path) -> None:
    hand = Hand().click(FIELD).type("Ann")
    hand.event(FIELD, type="keydown", keyCode=9, charCode=0)
    hand.focus = BUTTON
    assert done(submit(hand), tmp_path) == ["type 1 'Ann'", SUBMIT]


def test_what_was_not_undone_in_a_field_is_typed_as_the_person_saw_it(tmp_path: Path) -> None:
    hand = Hand().click(FIELD).type("ann")
    assert done(submit(hand), tmp_path, rawReward=-1) == ["type 1 'ann'", SUBMIT]
    assert done(submit(hand), tmp_path, rawReward=1)[0] == "type 1 'Ann'"  # as good, so in its own letters


@pytest.mark.parametrize(
    ("kind", "held", "said", "instruction"),
    [
        ("INPUT_date", "2016-06-15", "06/15/2016", "Enter 06/15/2016 as the date and hit submit."),
        ("INPUT_time", "16:04", "4:04 PM", "Enter 4:04 PM as the time and press submit."),
        ("INPUT_time", "00:09", "12:09 AM", "Enter 12:09 AM as the time and press submit."),
        ("INPUT_time", "17:45", "17:45", "Enter 17:45 as the time and press submit."),
        ("INPUT_time", "05:45", "05:45", "Enter 17:45 as the time and press submit."),
    ],
)
def test_dates_and_times_are_told_as_they_were_asked_for(
    tmp_path: Path, kind: str, held: str, said: str, instruction: str
) -> None:
    hand = Hand()
    hand.kinds[FIELD] = kind
    hand.click(FIELD)
    for _ in range(3):  # on the field's own arrows, which nobody sees move
        hand.click(FIELD, 108, 65)
    hand.values[FIELD] = held
    assert done(submit(hand), tmp_path, utterance=instruction) == [f"type 1 {said!r}", SUBMIT]


def test_a_label_and_its_box_are_clicked_once(tmp_path: Path) -> None:
    hand = Hand().click(LABEL, 40, 105).tell(BOX, 40, 105)
    hand.values[BOX] = True
    assert done(submit(hand), tmp_path) == ["click 2", SUBMIT]


def test_scrolling_is_left_to_hands_by_wheel_or_by_bar(tmp_path: Path) -> None:
    wheel, bar, quiet = Hand(), Hand().down(PANEL, 148, 150), Hand().down(PANEL, 148, 150)
    for hand in (wheel, bar):
        hand.top = 40
        hand.event(PANEL, type="scroll")
    bar.up(PANEL, 148, 190)
    quiet.top = 40
    quiet.up(PANEL, 148, 152)
    for number, hand in enumerate((wheel, bar, quiet)):
        made = moves(recorded(submit(hand), tmp_path, number=number))
        assert [str(one.action) for one in made.moves] == [SUBMIT]
        assert (made.moves[0].page, made.left_out["scroll"]) == (0, 1)


def test_what_changed_nothing_is_left_out_unless_it_came_last(tmp_path: Path) -> None:
    hand = Hand().click(PANEL, 20, 160).click(PANEL, 20, 160).click(BUTTON, 30, 190)
    made = moves(recorded(hand, tmp_path))
    assert [str(one.action) for one in made.moves] == ["click 6", SUBMIT]
    assert moves(recorded(Hand().down(FIELD), tmp_path)).moves[0].action == WebAction("click", 1, 0.1, 0.5)


def test_clicks_beside_the_page_are_left_out(tmp_path: Path) -> None:
    made = moves(recorded(submit(Hand().click(99, 50, 10)), tmp_path))
    assert ([str(one.action) for one in made.moves], made.left_out["outside the task area"]) == ([SUBMIT], 1)


def test_a_click_that_a_browser_puts_down_to_the_body_is_on_what_lies_there(tmp_path: Path) -> None:
    assert done(Hand().click(BODY, 30, 190), tmp_path) == [SUBMIT]


def test_a_key_that_is_held_down_all_the_time_is_not_in_the_way(tmp_path: Path) -> None:
    hand = Hand()
    hand.press(8, up=False).down(BOX, 10, 105).press(8, up=False).up(BOX, 10, 105).tell(BOX, 10, 105)
    hand.values[BOX] = True
    hand.press(8, up=False)
    assert done(submit(hand), tmp_path) == ["click 3", SUBMIT]


def test_a_paste_is_a_typing_and_a_copy_is_nothing(tmp_path: Path) -> None:
    hand = Hand().press(17, up=False).press(67, up=False).click(FIELD).press(86, up=False)
    hand.values[FIELD] = "Ann"
    hand.event(FIELD, type="keyup", keyCode=17, charCode=0)
    assert done(submit(hand), tmp_path) == ["type 1 'Ann'", SUBMIT]


def test_of_a_list_that_opens_over_the_page_the_reward_says_what_was_chosen(tmp_path: Path) -> None:
    asked = {"utterance": "Select Peru from the list and click Submit.", "task": "choose-list"}
    hand = submit(Hand().click(LIST, 50, 95).tell(LIST, -21, -303))
    assert done(hand, tmp_path, **asked) == ["type 5 'Peru'", SUBMIT]
    lost = moves(recorded(hand, tmp_path, rawReward=-1, **asked))
    assert (lost.moves, lost.reason) == ([], UNSEEN)


def test_what_follows_the_end_is_not_read(tmp_path: Path) -> None:
    hand = submit(Hand())
    hand.root = 400  # the next page begins its numbers anew
    hand.click(PANEL, 20, 160)
    one = recorded(hand, tmp_path)
    assert (len(one.events), one.rest, len(moves(one).moves)) == (7, 6, 1)


def test_what_is_no_demonstration_is_told_with_its_reason(tmp_path: Path) -> None:
    empty = Hand()
    empty.states = []
    files = {
        "nothing recorded": empty.write(tmp_path, number=1),
        "another kind of file": tmp_path / "round" / "enter-text" / "list.json",
        "unreadable (not as it was recorded)": tmp_path / "round" / "enter-text" / "enter-text_A1_d2.json.gz",
        "unreadable (KeyError)": tmp_path / "round" / "enter-text" / "enter-text_A1_d3.json",
    }
    files["another kind of file"].write_text("[]", "utf-8")
    files["unreadable (not as it was recorded)"].write_bytes(b"no archive")
    files["unreadable (KeyError)"].write_text('{"states": [{}]}', "utf-8")
    for reason, file in files.items():
        recording = read_raw(file)
        assert isinstance(recording, UnusableRecording)
        assert recording.reason == reason


def test_an_import_keeps_each_demonstration_once_and_says_what_it_left(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "store"
    file = submit(Hand().click(FIELD).type("Ann")).write(source)
    submit(Hand()).write(source, number=2, rawReward=-1)
    submit(Hand().click(LABEL, 40, 105)).write(source, "flight.Alaska-auto")
    submit(Hand().click(FIELD)).write(source, "choose-date-nodelay", utterance="Select 01/02/2016")
    Hand().write(source, number=3, rawReward=-1)
    link = file.with_name(f"enter-text_{ASSIGNMENT}_d9.json.gz")
    link.symlink_to(file)
    census = import_miniwob_turk(source, out).to_dict()
    assert {one: row["kept"] for one, row in census["tasks"].items()} == {
        "choose-date": 1,
        "enter-text": 2,
        "flight.Alaska-auto": 0,
    }
    assert {(one["task"], one["reason"]) for one in census["dropped"]} == {
        ("enter-text", NOTHING),
        ("flight.Alaska-auto", NO_PAGE),
    }
    again = import_miniwob_turk(source, out).to_dict()
    assert (again["kept"], sum(row["already_there"] for row in again["tasks"].values())) == (0, 3)
    store = Store.open(out)
    assert (len(store), store.verify()) == (3, [])
    assert not [path for path in out.rglob("*.parquet") if ASSIGNMENT.encode() in path.read_bytes()]


def test_a_stored_demonstration_holds_pages_moves_and_outcome(tmp_path: Path) -> None:
    submit(Hand().click(FIELD).type("Ann")).write(tmp_path / "source", rawReward=0.5)
    import_miniwob_turk(tmp_path / "source", tmp_path / "store")
    (one,) = Store.open(tmp_path / "store").trajectories()
    assert (one.task, one.kind, one.success, one.total, one.terminated) == (
        "enter-text",
        "person",
        True,
        0.5,
        True,
    )
    assert json.loads(one.notes) == {"task": "enter-text", "scaled_reward": 0.5}
    assert one.observations is not None
    assert set(one.observations["instruction"]) == {'Enter "Ann" and press Submit.'}
    first, last = (read_elements(one.observations["elements"][at]) for at in (0, -1))
    assert [(each.tag, each.value) for each in first[:2]] == [("BODY", None), ("INPUT_text", "")]
    assert (last[1].value, first[0].width, first[4].tag, first[4].text) == ("Ann", 160, "t", "tick")
    actions = [to_action(row_to_action(action_space(), row)) for row in one.actions]
    assert [str(action) for action in actions] == ["type 1 'Ann'", SUBMIT]


def test_a_color_that_was_shown_and_not_told_is_that_of_the_box_that_was_right(tmp_path: Path) -> None:
    facts = {"utterance": "Click on the  colored box.", "task": "click-color"}
    for number, reward in ((1, 1), (2, -1)):
        submit(Hand()).write(tmp_path / "source", number=number, rawReward=reward, **facts)
    import_miniwob_turk(tmp_path / "source", tmp_path / "store")
    said = {
        one.success: one.observations["instruction"][0]
        for one in Store.open(tmp_path / "store").trajectories()
        if one.observations is not None
    }
    assert said == {True: "Click on the red colored box.", False: "Click on the  colored box."}


def test_the_verb_tells_a_format_and_a_folder_apart(tmp_path: Path) -> None:
    submit(Hand()).write(tmp_path / "source")
    run = CliRunner()
    words = ["import", "miniwob-turk", str(tmp_path / "source"), "-o", str(tmp_path / "store"), "--json"]
    told = json.loads(run.invoke(app, words).stdout)
    assert told["counts"][0]["kept"] == 1
    words = ["import", str(tmp_path / "source"), "--from", "miniwob-turk", "-o", str(tmp_path / "again")]
    table = run.invoke(app, words, env={"COLUMNS": "120"})
    assert "1 of 1 demonstration kept" in table.stdout
    for wrong in (["import", str(tmp_path), "-o", "x"], ["import", "miniwob", str(tmp_path), "-o", "x"]):
        assert isinstance(run.invoke(app, wrong).exception, TutelageError)
    with pytest.raises(TutelageError, match="found neither"):
        import_miniwob_turk(tmp_path / "store", tmp_path / "other")


@pytest.fixture(scope="module")
def raw(crowd_data: Path) -> Mapping[str, Recording]:
    """The real files, as published, by episode."""
    found = [read_raw(file) for file in raw_files(crowd_data / "raw")]
    return {one.episode: in_one_form(one) for one in found if isinstance(one, Recording)}


@pytest.mark.slow
@pytest.mark.parametrize("most", [8, pytest.param(116, marks=pytest.mark.soak)])
def test_files_and_tables_give_the_same_trajectories(
    crowd_data: Path, raw: Mapping[str, Recording], most: int
) -> None:
    suite = load_suite("web-all")
    task = suite["click-test"]  # whichever: the same for both
    seen = 0
    for one in read_tables(crowd_data):
        if seen == most:
            break
        if (theirs := raw.get(one.episode)) is None:
            continue
        seen += 1
        made = [moves(each) for each in (in_one_form(one), theirs)]
        assert made[0].moves == made[1].moves
        if made[0].reason:
            continue
        named = [replace(each, task="", demonstrator="", source="") for each in (in_one_form(one), theirs)]
        both = [to_trajectory(*pair, task, suite.name) for pair in zip(named, made, strict=True)]
        for name in vars(both[0]):
            mine, other = getattr(both[0], name), getattr(both[1], name)
            if name == "observations":
                assert all(np.array_equal(mine[path], other[path]) for path in mine)
            else:
                assert np.array_equal(mine, other), f"{name} of {theirs.source}"
    assert (seen, len(raw)) == (most, 116)


@pytest.mark.slow
def test_windows_are_read_from_the_crowd_s_demonstrations(crowd_data: Path, tmp_path: Path) -> None:
    census = import_miniwob_turk(crowd_data / "raw", tmp_path / "store", load_suite("web-all")).to_dict()
    assert (census["found"], census["kept"]) == (116, 114)
    assert {one["reason"] for one in census["dropped"]} == {NOTHING}
    columns = load_columns([Store.open(tmp_path / "store")], cache=tmp_path / "columns")
    batch = Sampler(columns, window=8, steps_per_batch=256).batch(3)
    assert sum(len(one.rows) for one in batch.values()) > 200
    for one in batch.values():
        for step, document in enumerate(one.observations["elements"]):
            action = to_action(row_to_action(action_space(), one.actions[step]))
            assert -1 <= action.element < len(read_elements(document))
