"""A bonus is a rule that participants can compute: their own episodes alone, in any order, to a maximum."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tutelage.crowd.recruiting.bonus import Bonus, ScoredEpisode, points_of
from tutelage.crowd.recruiting.money import DECIMALS, amount, decimal_of, fits, minor_units, shown
from tutelage.crowd.storage.database import open_database
from tutelage.crowd.storage.study_tables import StudyDatabase, conduct
from tutelage.crowd.studies.episode_records import counted, rows_of, write_down
from tutelage.crowd.studies.study_file import problems
from tutelage.tests.support.sources import ROOT
from tutelage.tests.support.toy_study import write

SOLVED = ScoredEpisode(True)
FAILED = ScoredEpisode(False)
CURRENCIES = st.sampled_from(["GBP", "JPY", "KWD", "EUR"])
PLAYED = st.lists(st.builds(ScoredEpisode, st.booleans(), st.integers(-(10**6), 10**6)), max_size=30)


def amounts(currency: str, least: int = 0) -> st.SearchStrategy[Decimal]:
    """Draw amounts that are whole minor units of a currency."""
    return st.integers(least, 10**6).map(lambda units: decimal_of(units, currency))


@st.composite
def rules(draw: st.DrawFn) -> tuple[Bonus, str, int]:
    """Draw a rule of any form, its currency, and how many episodes a participant may play."""
    currency, episodes = draw(CURRENCIES), draw(st.integers(1, 40))
    form = draw(st.sampled_from(["solved", "threshold", "score"]))
    if form == "solved":
        limit = draw(st.none() | amounts(currency))
        return Bonus(by="solved", each=draw(amounts(currency)), at_most=limit), currency, episodes
    if form == "score":
        amount = draw(st.decimals("0", "1000", places=6))
        return Bonus(by="score", each=amount, at_most=draw(amounts(currency))), currency, episodes
    numbers = sorted(draw(st.sets(st.integers(1, episodes), min_size=1, max_size=5)))
    values = sorted(draw(st.sets(amounts(currency), min_size=len(numbers), max_size=len(numbers))))
    return Bonus(by="threshold", amounts=dict(zip(numbers, values, strict=True))), currency, episodes


@given(rules(), PLAYED, st.randoms())
def test_a_bonus_is_whole_minor_units_up_to_the_maximum_in_any_order(
    rule: tuple[Bonus, str, int], played: list[ScoredEpisode], random: Any
) -> None:
    bonus, currency, episodes = rule
    earned = bonus.earned(currency, episodes, played)
    assert isinstance(earned, int)
    assert 0 <= earned <= bonus.most(currency, episodes)
    shuffled = random.sample(played, len(played))
    assert bonus.earned(currency, episodes, shuffled) == earned


@given(rules(), PLAYED, st.builds(ScoredEpisode, st.booleans(), st.integers(-(10**6), 10**6)))
def test_an_episode_more_or_a_success_instead_of_a_failure_never_lowers_it(
    rule: tuple[Bonus, str, int], played: list[ScoredEpisode], more: ScoredEpisode
) -> None:
    bonus, currency, episodes = rule
    earned = bonus.earned(currency, episodes, played)
    assert bonus.earned(currency, episodes, [*played, more]) >= earned
    better = [ScoredEpisode(True, row.points + 1) for row in played]
    assert bonus.earned(currency, episodes, better) >= earned


@given(rules(), PLAYED)
def test_the_participant_computes_the_same_from_what_is_printed(
    rule: tuple[Bonus, str, int], played: list[ScoredEpisode]
) -> None:
    bonus, currency, episodes = rule
    most, unit = Fraction(bonus.most(currency, episodes)), 10 ** DECIMALS[currency]
    solved = sum(row.success for row in played)
    if bonus.by == "solved":
        computed = min(most, solved * Fraction(bonus.each or 0) * unit)
    elif bonus.by == "score":
        total = sum(Fraction(max(0, row.points), 100) for row in played)
        computed = min(most, total * Fraction(bonus.each or 0) * unit // 1)
    else:
        reached = [Fraction(value) * unit for number, value in bonus.amounts.items() if number <= solved]
        computed = reached[-1] if reached else Fraction(0)
    assert bonus.earned(currency, episodes, played) == computed


def row(person: str, number: int, success: bool, points: int, role: str = "demonstration") -> dict[str, Any]:
    values: dict[str, Any] = {column.name: None for column in conduct.columns if column.name != "checksum"}
    shares = {"fast_share": 0.0, "idle_share": 0.0, "repeat_share": 0.0, "hidden_ms": 0.0}
    values |= {
        "episode": f"{person}-{number}",
        "person": person,
        "role": role,
        "task": "lake",
        "seed": number,
    }
    values |= {"success": success, "steps": 6, "seconds": 1.0, "at": float(number), "points": points}
    return values | shares


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 500)), max_size=6),
    st.lists(st.tuples(st.sampled_from(["bob", "eve"]), st.booleans(), st.integers(0, 500)), max_size=6),
    st.randoms(),
)
def test_what_strangers_do_and_when_they_come_changes_nothing(
    episodes: list[tuple[bool, int]], strangers: list[tuple[str, bool, int]], random: Any
) -> None:
    rows = [row("ann", number, *played) for number, played in enumerate(episodes)]
    rows += [row(name, 100 + number, *played) for number, (name, *played) in enumerate(strangers)]
    rows.append(row("ann", 99, True, 500, role="practice"))
    ledger = StudyDatabase(open_database("sqlite://"))
    with ledger.engine.begin() as connection:
        for written in random.sample(rows, len(rows)):
            write_down(connection, written)
        mine = counted(rows_of(connection, "ann"))
    ledger.engine.dispose()
    for bonus in (
        Bonus(by="solved", each=Decimal("0.25")),
        Bonus(by="threshold", amounts={2: Decimal("0.50"), 4: Decimal(1)}),
        Bonus(by="score", each=Decimal("0.01"), at_most=Decimal(9)),
    ):
        alone = [ScoredEpisode(*played) for played in episodes]
        assert bonus.earned("GBP", 6, mine) == bonus.earned("GBP", 6, alone)


def test_two_of_two_solved_earn_the_whole_bonus_and_giving_up_earns_none() -> None:
    bonus = Bonus(by="solved", each=Decimal("0.50"))
    assert bonus.most("GBP", 2) == 100
    assert bonus.earned("GBP", 2, [SOLVED, SOLVED]) == 100
    assert bonus.earned("GBP", 2, [FAILED, FAILED]) == 0


def test_each_form_pays_what_it_says() -> None:
    steps = Bonus(by="threshold", amounts={3: Decimal("1.50"), 2: Decimal("0.50")})
    assert [steps.earned("GBP", 4, [SOLVED] * n) for n in range(5)] == [0, 0, 50, 150, 150]
    limited = Bonus(by="solved", each=Decimal("0.05"), at_most=Decimal("0.12"))
    assert [limited.earned("GBP", 9, [SOLVED] * n) for n in range(4)] == [0, 5, 10, 12]
    score = Bonus(by="score", each=Decimal("0.001"), at_most=Decimal(1))
    played = [ScoredEpisode(False, 12_345), ScoredEpisode(True, -900)]
    assert score.earned("GBP", 2, played) == 12  # 123.45 points at a tenth of a penny
    assert score.reason(played) == "123.45 points"


@pytest.mark.parametrize(
    ("rewards", "points"),
    [
        ([0.1, 0.7], 80),
        ([0.1] * 3, 30),
        ([-1.0, 0.5], 0),
        ([], 0),
        ([float("nan")], 0),
        ([float("inf")], 0),
        ([float("inf"), float("-inf")], 0),
        ([1e308, 1e308], 0),
        ([1e30], 10**15),
    ],
)
def test_points_are_the_return_to_two_decimals_and_none_without_one(
    rewards: list[float], points: int
) -> None:
    assert points_of(rewards) == points


@pytest.mark.parametrize(
    ("units", "code", "text"),
    [(150, "GBP", "1.50 GBP"), (150, "JPY", "150 JPY"), (150, "KWD", "0.150 KWD"), (0, "EUR", "0.00 EUR")],
)
def test_money_has_the_decimals_of_its_currency(units: int, code: str, text: str) -> None:
    assert shown(units, code) == text


@given(st.integers(0, 10**11), st.sampled_from(sorted(DECIMALS)))
def test_minor_units_survive_the_way_to_an_amount_and_back(units: int, code: str) -> None:
    value = decimal_of(units, code)
    assert fits(value, code)
    assert minor_units(value, code) == units
    assert Decimal(shown(units, code).split()[0]) == value


@given(st.integers(0, 10**9), st.integers(0, 99))
def test_amounts_of_yaml_are_read_as_they_are_written(whole: int, cents: int) -> None:
    written = f"{whole}.{cents:02d}"
    assert amount(written) == Decimal(written) if whole < 10**9 else True
    if whole < 10**9:
        assert amount(float(written)) == Decimal(written)


@pytest.mark.parametrize("value", [True, None, [], "1,50", "two", -1, float("inf"), 10**10])
def test_what_is_no_amount_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"expected an amount such as 1\.50"):
        amount(value)


def test_every_form_that_the_documents_show_is_a_sound_study(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "studies.md").read_text("utf-8")
    forms = [yaml.safe_load(line) for line in re.findall(r"^    (pay: .*)$", text, re.M)]
    assert {form["pay"]["bonus"]["by"] for form in forms} == {"solved", "threshold", "score"}
    for form in forms:
        assert problems(write(tmp_path, episodes=12, **form)) == []


def test_points_stand_in_a_table_of_their_own_once(tmp_path: Path) -> None:
    ledger = StudyDatabase(open_database(tmp_path / "a.sqlite"))
    with ledger.write() as connection:
        for _ in range(2):
            write_down(connection, row("ann", 1, True, 250))
        [played] = rows_of(connection, "ann")
    assert counted([played]) == [ScoredEpisode(True, 250)]
    assert ledger.damaged() == []
    assert len(ledger.rows(sql.select(conduct))) == 1
