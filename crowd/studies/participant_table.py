"""The state machine of a participant as a table: what happens in which stage at which event, and what is due.

Guards and actions are names of methods of `participant.Participant`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from ..storage.study_tables import Stage

CONSENT, INSTRUCTIONS, PRACTICE, CHECK, PLAY, REST, DONE = Stage


class Event(Enum):
    """An event that may change the state of a participant."""

    # messages of the page, see `seats.protocol`
    PAGE_HIDDEN = auto()
    DEVICE = auto()
    LANGUAGE = auto()
    AGREE = auto()
    DECLINE = auto()
    READY = auto()
    ANSWERS = auto()
    NEXT = auto()
    DISCARD = auto()
    WITHDRAW = auto()
    # of the session and the study
    BEGIN = auto()
    """In a stage with episodes, none is open, no outcome is shown and nothing is paused. Raised by `_go_on`:
    after each change of stage, when the page opens, and after MAY_GO_ON and CLAIM_LOST."""
    EPISODE_FINISHED = auto()
    ENVIRONMENT_FAILED = auto()
    CLAIM_LOST = auto()
    PLACE_FREE = auto()
    # of the clock, see `CLOCK`
    BAN = auto()
    ENDED_ELSEWHERE = auto()
    SESSION_TIME_UP = auto()
    EPISODE_TIME_UP = auto()
    IDLE = auto()
    MAY_GO_ON = auto()
    RENEW_CLAIM = auto()


@dataclass(frozen=True)
class Transition:
    """A row of the table: at `event` in one of `stages`, if all guards in `when` hold, run the action `do`.

    Guards and actions are names of methods of `Participant`, which receive what the event carries; arguments
    of an action follow its name. `to` are the stages that the action may lead to, apart from events that it
    raises itself; none if the stage stays. Without an action, the stage becomes the one in `to`.
    """

    stages: tuple[Stage, ...]
    event: Event
    when: tuple[str, ...] = ()
    do: tuple[str, ...] = ()
    to: tuple[Stage, ...] = ()


ANY_STAGE = tuple(Stage)
BEFORE_END = (CONSENT, INSTRUCTIONS, PRACTICE, CHECK, PLAY, REST)
AFTER_CONSENT = (INSTRUCTIONS, PRACTICE, CHECK, PLAY, REST)

TRANSITIONS = (
    # the way through the study
    Transition((CONSENT,), Event.AGREE, do=("_admit",), to=(INSTRUCTIONS, DONE)),
    Transition((CONSENT,), Event.DECLINE, do=("_end", "declined", "declined"), to=(DONE,)),
    Transition((INSTRUCTIONS,), Event.READY, when=("_has_practice",), to=(PRACTICE,)),
    Transition((INSTRUCTIONS,), Event.READY, when=("_has_check",), to=(CHECK,)),
    Transition((INSTRUCTIONS,), Event.READY, to=(PLAY,)),
    Transition((PRACTICE,), Event.NEXT, when=("_outcome_is_shown", "_practice_remains"), to=(PRACTICE,)),
    Transition((PRACTICE,), Event.NEXT, when=("_outcome_is_shown", "_has_check"), to=(CHECK,)),
    Transition((PRACTICE,), Event.NEXT, when=("_outcome_is_shown",), to=(PLAY,)),
    Transition(
        (CHECK,), Event.ANSWERS, when=("_is_complete",), do=("_check_answers",), to=(CHECK, PLAY, DONE)
    ),
    Transition((PLAY,), Event.NEXT, when=("_outcome_is_shown", "_rest_is_due"), to=(REST,)),
    Transition((PLAY,), Event.NEXT, when=("_outcome_is_shown",), to=(PLAY,)),
    Transition((REST,), Event.NEXT, do=("_end_rest",), to=(PLAY,)),
    Transition(AFTER_CONSENT, Event.WITHDRAW, do=("_withdraw",), to=(DONE,)),
    Transition((DONE,), Event.PLACE_FREE, when=("_was_full",), do=("_return_to_consent",), to=(CONSENT,)),
    # episodes
    Transition((PRACTICE,), Event.BEGIN, do=("_begin_practice",)),
    Transition((PLAY,), Event.BEGIN, when=("_all_are_played",), do=("_end", "completed"), to=(DONE,)),
    Transition((PLAY,), Event.BEGIN, when=("_session_time_is_up",), do=("_end", "timed-out"), to=(DONE,)),
    Transition((PLAY,), Event.BEGIN, do=("_begin_episode",), to=(PLAY, DONE)),
    Transition((PRACTICE,), Event.EPISODE_FINISHED, do=("_close_episode",)),
    Transition((PLAY,), Event.EPISODE_FINISHED, do=("_close_episode",), to=(PLAY, DONE)),
    Transition((PRACTICE,), Event.DISCARD, when=("_episode_is_open",), do=("_close_episode", "given-up")),
    Transition(
        (PLAY,), Event.DISCARD, when=("_episode_is_open",), do=("_close_episode", "given-up"), to=(PLAY, DONE)
    ),
    Transition((PRACTICE,), Event.ENVIRONMENT_FAILED, do=("_skip_episode",)),
    Transition((PLAY,), Event.ENVIRONMENT_FAILED, do=("_skip_episode",), to=(PLAY, DONE)),
    # time and moderation
    Transition(BEFORE_END, Event.BAN, do=("_end", "banned"), to=(DONE,)),
    Transition(BEFORE_END, Event.ENDED_ELSEWHERE, do=("arrive",), to=(DONE,)),
    Transition(
        AFTER_CONSENT, Event.SESSION_TIME_UP, when=("_play_is_stopped",), do=("_end_session",), to=(DONE,)
    ),
    Transition((PRACTICE,), Event.EPISODE_TIME_UP, when=("_is_overdue",), do=("_close_episode", "time")),
    Transition(
        (PLAY,), Event.EPISODE_TIME_UP, when=("_is_overdue",), do=("_close_episode", "time"), to=(PLAY, DONE)
    ),
    Transition((PRACTICE, PLAY), Event.IDLE, when=("_is_inactive",), do=("_let_wait",)),
    Transition(BEFORE_END, Event.MAY_GO_ON, do=("_look_again",)),
    Transition((PLAY,), Event.RENEW_CLAIM, do=("_renew_claim",)),
    Transition((PLAY,), Event.CLAIM_LOST, do=("_release_claim",)),
    # reports of the page, and its language
    Transition(ANY_STAGE, Event.PAGE_HIDDEN, do=("_add_hidden_time",)),
    Transition(ANY_STAGE, Event.LANGUAGE, when=("_is_offered",), do=("_choose_language",)),
    Transition(AFTER_CONSENT, Event.DEVICE, do=("_note_device",)),
)
"""The state machine. The first row whose guards hold applies; an event without such a row is passed over."""

CLOCK = (
    (Event.BAN, ("_is_banned",)),
    (Event.ENDED_ELSEWHERE, ("_was_ended_elsewhere",)),
    (Event.SESSION_TIME_UP, ("_session_time_is_up", "_play_is_stopped")),
    (Event.EPISODE_TIME_UP, ("_is_playing", "_is_overdue")),
    (Event.IDLE, ("_is_inactive",)),
    (Event.MAY_GO_ON, ("_wait_has_changed",)),
    (Event.RENEW_CLAIM, ("_claim_is_old",)),
)
"""The events of the clock, each with its conditions; the first whose conditions hold is due."""

ROWS = {
    (stage, event): [row for row in TRANSITIONS if stage in row.stages and row.event is event]
    for stage in Stage
    for event in Event
}
"""(stage, event) → the rows of the table for it, in their order."""
