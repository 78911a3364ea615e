"""What the dashboard says is what the database holds: counted by hand, and the same on both databases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from scipy import stats
from tutelage.crowd.dashboard.metrics import exposition
from tutelage.crowd.dashboard.monitor import WINDOWS, StudyTargets, figures
from tutelage.crowd.dashboard.participants import describe_participant, list_participants
from tutelage.crowd.server.server_metrics import ServerMetrics, write_heartbeat
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.study_tables import StudyDatabase, claims, conduct, people, servers
from tutelage.crowd.studies.moderation import decide, moderation_state
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError
from tutelage.tests.support.busy import Busy, busy

SUITE = suite_from(
    {"suite": "two", "tasks": [{"id": "lake", "env": "FrozenLake-v1"}, {"id": "pole", "env": "CartPole-v1"}]}
)
PLAN = StudyTargets(
    "study", SUITE, "A study", people=3, episodes=4, quotas={"lake": 5, "pole": None}, tolerance=1.5
)


@pytest.fixture
def ledger(database_url: str) -> Iterator[StudyDatabase]:
    """Give the ledger of an empty database, once of each kind."""
    with Journal(database_url) as journal:
        yield StudyDatabase(journal.engine)


def come(ledger: StudyDatabase, person: str, **values: object) -> None:
    now = time.time()
    row = {
        "person": person,
        "seat": f"seat-of-{person}",
        "study": "study",
        "source": "link",
        "language": "en",
        "stage": "play",
        "progress": {},
        "outcome": "",
        "joined": now - 600,
        "seen": now - 5,
        **values,
    }
    with ledger.write() as connection:
        connection.execute(people.insert(), row)


def played(ledger: StudyDatabase, person: str, **values: object) -> None:
    row = {
        "episode": f"episode-{time.perf_counter_ns()}",
        "person": person,
        "role": "demonstration",
        "task": "lake",
        "seed": 1,
        "success": True,
        "steps": 12,
        "seconds": 6.0,
        "expert_steps": 6,
        "at": time.time() - 30,
        **values,
    }
    with ledger.write() as connection:
        connection.execute(conduct.insert(), row)


def claim(ledger: StudyDatabase, state: str, seed: int, **values: object) -> None:
    row = {
        "study": "study",
        "task": "lake",
        "seed": seed,
        "role": "demonstration",
        "slot": "0",
        "person": "ann",
        "state": state,
        "until": time.time() + 60,
        **values,
    }
    with ledger.write() as connection:
        connection.execute(claims.insert(), row)


def beat(
    ledger: StudyDatabase, server: str, meter: ServerMetrics, ago: float = 0.0, trouble: str = ""
) -> None:
    now = time.time()
    figures = {**meter.figures(trouble), "restarts": 1}
    row = {"server": server, "started": now - 60, "seen": now - ago, "figures": figures}
    with ledger.write() as connection:
        connection.execute(servers.insert(), row)


@pytest.mark.slow
def test_people_are_counted_by_stage_by_outcome_and_by_who_is_here(ledger: StudyDatabase) -> None:
    come(ledger, "ann")
    come(ledger, "ben", seen=time.time() - 3600)
    come(ledger, "cat", stage="consent")
    come(ledger, "dan", stage="done", outcome="completed")
    come(ledger, "eve", study="another")
    now = figures(ledger, PLAN)["people"]
    assert now["joined"] == 4
    assert {stage: n for stage, n in now["here"].items() if n} == {"play": 1, "consent": 1}
    assert {stage: n for stage, n in now["underway"].items() if n} == {"play": 2, "consent": 1}
    assert now["outcomes"] == {"completed": 1}


def test_success_has_wilsons_interval_and_practice_counts_for_nothing(ledger: StudyDatabase) -> None:
    come(ledger, "ann")
    for at in range(9):
        played(ledger, "ann", success=at < 7)
    played(ledger, "ann", role="practice", success=False)
    come(ledger, "eve", study="another")
    played(ledger, "eve", success=False)
    [lake, pole] = figures(ledger, PLAN)["tasks"]
    interval = stats.binomtest(7, 9).proportion_ci(method="wilson")
    assert lake["share"] == pytest.approx(
        {"share": 7 / 9, "low": interval.low, "high": interval.high, "n": 9}
    )
    assert (lake["length"], lake["seconds"]) == (2.0, 6.0)
    assert (pole["n"], pole["share"]) == (0, None)


def test_a_quota_has_left_what_is_neither_done_nor_being_played(ledger: StudyDatabase) -> None:
    claim(ledger, "done", 1)
    claim(ledger, "done", 2, role="repeat")
    claim(ledger, "held", 3)
    claim(ledger, "held", 4, until=time.time() - 1)  # it ran out
    claim(ledger, "done", 5, role="gold")
    claim(ledger, "done", 6, role="practice")
    [lake, pole] = figures(ledger, PLAN)["tasks"]
    assert (lake["quota"], lake["done"], lake["held"], lake["left"]) == (5, 2, 1, 2)
    assert (pole["quota"], pole["left"]) == (None, None)


def test_curves_count_every_episode_of_their_window_once(ledger: StudyDatabase) -> None:
    come(ledger, "ann")
    now = time.time()
    for ago in (1, 61, 62, 3000, 4000, 90_000):
        played(ledger, "ann", at=now - ago, success=ago < 100, lag_ms=float(ago))
    for window, (seconds, step) in WINDOWS.items():
        curves = figures(ledger, PLAN, window, now)["curves"]
        assert len(curves["episodes"]) == len(curves["lag"]) == seconds // step
        assert curves["first"] % step == 0
        assert curves["first"] + seconds > now >= curves["first"] + seconds - step
        assert sum(curves["episodes"]) == {"hour": 4, "day": 5, "week": 6}[window]
        assert sum(curves["successes"]) == 3
    assert curves["rate"] == pytest.approx(3 / 5)


def test_percentiles_of_few_episodes_are_not_told(ledger: StudyDatabase) -> None:
    come(ledger, "ann")
    now = time.time() // 60 * 60 + 30
    for lag in range(25):
        played(ledger, "ann", at=now - 1, lag_ms=float(lag))
    last = figures(ledger, PLAN, "hour", now)["curves"]["lag"][-1]
    assert last == [12.0, pytest.approx(22.8), None]


def test_everyone_has_a_row_with_what_they_are_worth(ledger: StudyDatabase) -> None:
    @dataclass
    class Found:
        measure: str = "idle"
        sentence: str = "is idle 80 % of the time"
        against: bool = True

    @dataclass
    class Verdict:
        score: float = 0.25
        findings: tuple[Found, ...] = (Found(), Found("lag", "waits 30 ms", False))
        reasons: tuple[str, ...] = ("is idle 80 % of the time",)

    come(ledger, "ann", joined=1.0)
    come(ledger, "ben", joined=2.0)
    played(ledger, "ann", role="gold", steps=9, expert_steps=6, hidden_ms=400.0, reaction_ms=300.0)
    played(ledger, "ann", role="gold", steps=10, expert_steps=6, hidden_ms=100.0, lag_ms=20.0)
    played(ledger, "ann", role="gold", success=False)
    decide(ledger, "study", "pause", "ann", "a word with her")
    ben, ann = list_participants(ledger, PLAN, {"ann": Verdict()})["people"]
    assert (ben["person"], ben["episodes"], ben["success"], ben["score"], ben["reasons"]) == (
        "ben",
        0,
        None,
        None,
        [],
    )
    assert ann["gold"] == [1, 3]
    assert (ann["hidden"], ann["reaction"], ann["lag"]) == (500, 300, 20.0)
    assert ann["length"] == pytest.approx((9 / 6 + 10 / 6) / 2, abs=0.01)
    assert (ann["score"], ann["reasons"]) == (0.25, ["is idle 80 % of the time"])
    assert ann["marks"] == {"idle": "is idle 80 % of the time"}
    assert (ann["standing"], ann["why"], ann["here"]) == ("paused", "a word with her", True)


def test_decisions_need_a_reason_and_must_change_something(ledger: StudyDatabase) -> None:
    come(ledger, "ann")
    come(ledger, "eve", study="another")
    for what, person, reason, complaint in (
        ("pause", "", "  ", "a reason"),
        ("pause", "", "x" * 501, "a reason"),
        ("stop", "", "why not", "decision"),
        ("ban", "", "all of them", "whole study"),
        ("ban", "eve", "not ours", "person of study"),
        ("ban", "nobody", "who?", "person of study"),
        ("resume", "", "is not paused", "running already"),
        ("resume", "ann", "is not paused", "running already"),
    ):
        with pytest.raises(TutelageError, match=complaint):
            decide(ledger, "study", what, person, reason)
    assert moderation_state(ledger, "study") == moderation_state(ledger, "another")
    decide(ledger, "study", "pause", reason="lunch\n  break")
    decide(ledger, "study", "ban", "ann", "a bot")
    now = moderation_state(ledger, "study")
    assert (now.paused, now.reason) == (True, "lunch break")
    assert (now.banned, now.of("ann"), now.of("ben")) == ({"ann": "a bot"}, "banned", "")
    for what in ("pause", "resume", "ban"):
        with pytest.raises(TutelageError, match="for good"):
            decide(ledger, "study", what, "ann", "again")
    with pytest.raises(TutelageError, match="paused already"):
        decide(ledger, "study", "pause", reason="again")
    decide(ledger, "study", "resume", reason="back")
    assert not moderation_state(ledger, "study").paused
    assert not moderation_state(ledger, "another").banned


def test_servers_are_alive_while_their_heart_beats_and_their_lag_adds_up(ledger: StudyDatabase) -> None:
    first, other, gone = ServerMetrics(), ServerMetrics(), ServerMetrics()
    for lag in range(100):
        first.shown(lag / 10)
        other.shown(40)
        gone.shown(2000)
    beat(ledger, "one", first)
    beat(ledger, "other", other, trouble="disk is full")
    beat(ledger, "gone", gone, ago=30)
    found = figures(ledger, PLAN)
    rows = {row["server"]: row for row in found["servers"]}
    assert [rows[name]["alive"] for name in ("one", "other", "gone")] == [True, True, False]
    assert rows["other"]["trouble"] == "disk is full"
    assert found["lag"][0] <= 10
    assert found["lag"][2] == pytest.approx(50, abs=1)


def test_a_lone_server_is_the_only_one(ledger: StudyDatabase) -> None:
    beat(ledger, "killed", ServerMetrics(), ago=1)
    for trouble in ("", "disk is full"):
        write_heartbeat(ledger, 1.0, ServerMetrics().figures(trouble))
    [row] = figures(ledger, PLAN)["servers"]
    assert (row["started"], row["alive"], row["trouble"]) == (1.0, True, "disk is full")


def test_prometheus_reads_the_same_figures(ledger: StudyDatabase) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    come(ledger, "ann")
    come(ledger, "dan", stage="done", outcome="completed")
    played(ledger, "ann")
    played(ledger, "ann", success=False)
    meter = ServerMetrics()
    meter.stepped()
    meter.shown(30)
    meter.shown(10**6)
    beat(ledger, "one", meter, trouble="away")
    read = parser.text_string_to_metric_families(exposition(ledger, PLAN).decode())
    samples = {
        (one.name, *sorted(one.labels.items())): one.value for family in read for one in family.samples
    }
    server = ("server", "one")
    assert samples["tutelage_people", ("stage", "play")] == 1
    assert samples["tutelage_people_here", ("stage", "play")] == 1
    assert samples["tutelage_people_ended", ("outcome", "completed")] == 1
    for outcome in ("success", "failure"):
        assert samples["tutelage_episodes_total", ("outcome", outcome), ("task", "lake")] == 1
    assert samples["tutelage_steps_total", server] == 1
    assert samples["tutelage_worker_restarts_total", server] == 1
    assert samples["tutelage_journal_trouble", server] == 1
    assert samples["tutelage_servers",] == 1
    assert samples["tutelage_lag_seconds_count", server] == 2
    assert samples["tutelage_lag_seconds_bucket", ("le", "0.025"), server] == 0
    assert samples["tutelage_lag_seconds_bucket", ("le", "0.035"), server] == 1
    assert samples["tutelage_lag_seconds_bucket", ("le", "+Inf"), server] == 2
    assert samples["tutelage_lag_seconds_sum", server] == pytest.approx(1000.03)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    """Give a study that simulated people have played in."""
    with busy(tmp_path_factory.mktemp("busy")) as one:
        yield one


@pytest.mark.slow
def test_a_plan_is_what_the_study_file_asks_for(full: Busy) -> None:
    plan = full.plan
    assert (plan.study, plan.title, plan.people, plan.episodes) == ("first-crowd", "Grid errands", 40, 12)
    assert plan.quotas == {"goto-red-ball-grey": 90, "goto-local": 90, "taxi": 30}
    assert (plan.tolerance, plan.baseline) == (1.6, False)


def test_a_crowd_is_added_up_as_its_store_has_it(full: Busy) -> None:
    kept = list(full.store.trajectories())
    shown = figures(full.database, full.plan)
    assert shown["success"]["n"] == len(kept) == sum(shown["curves"]["episodes"])
    assert shown["success"]["share"] == pytest.approx(
        sum(trajectory.success for trajectory in kept) / len(kept)
    )
    for row in shown["tasks"]:
        theirs = [one for one in kept if one.task == row["task"]]
        assert (row["n"], row["successes"]) == (len(theirs), sum(one.success for one in theirs))
    rows = {
        row["person"]: row
        for row in list_participants(full.database, full.plan, full.judge.verdicts())["people"]
    }
    for name in full.names:
        theirs = [one for one in kept if one.demonstrator == name]
        assert rows[name]["episodes"] == len(theirs)
        assert rows[name]["success"]["share"] == pytest.approx(
            sum(one.success for one in theirs) / len(theirs)
        )
    hostile = [rows[name] for name in full.names[-3:]]
    assert all(one["reasons"] for one in hostile)
    careful = [rows[name] for name in full.names[:8]]
    assert min(one["score"] for one in careful) > max(one["score"] for one in hostile)


def test_one_person_is_told_whole_and_never_by_name(full: Busy) -> None:
    person = full.names[0]
    description = describe_participant(
        full.database, full.journal, full.plan, person, full.judge.verdict(person)
    )
    assert description is not None
    assert len(description["played"]) == description["episodes"]
    assert {episode["role"] for episode in description["played"]} >= {"gold", "demonstration"}
    assert [consent["decision"] for consent in description["consents"]] == ["given"]
    assert {finding["measure"] for finding in description["findings"]} >= {"success", "reaction"}
    assert "5f3a9c0d" not in str(description)
    assert "SECRET-CODE" not in str(description)
    assert describe_participant(full.database, full.journal, full.plan, "person-000000000000") is None
    assert (
        describe_participant(full.database, full.journal, replace(full.plan, study="another"), person) is None
    )
