"""An operator's session as a state machine: what each key means in each phase, and what a silent device does."""

import pytest

from robolearn.learning.session import NO_ANSWER, STOPPED, WENT_BACK, Session


def session_in(phase, **options):
    session = Session(**options)
    if phase != "ready":
        assert session.hear(True, ["record"]) == ["begin"]
    if phase == "ended":
        assert session.stepped(True) == []
    assert session.phase == phase
    return session


@pytest.mark.parametrize(
    ("phase", "event", "commands", "then"),
    [
        ("ready", "record", ["begin"], "recording"),
        ("ready", "success", [], "ready"),
        ("ready", "failure", [], "ready"),
        ("ready", "undo", [], "ready"),
        ("ready", "discard", ["discard"], "ready"),
        ("ready", "reset", ["reset"], "ready"),
        ("recording", "record", [], "recording"),
        ("recording", "success", ["success"], "ready"),
        ("recording", "failure", ["failure"], "ready"),
        ("recording", "undo", ["undo"], "recording"),
        ("recording", "discard", ["discard"], "ready"),
        ("recording", "reset", ["reset"], "ready"),
        ("ended", "record", [], "ended"),
        ("ended", "success", ["success"], "ready"),
        ("ended", "failure", ["failure"], "ready"),
        ("ended", "undo", ["undo"], "recording"),
        ("ended", "discard", ["discard"], "ready"),
        ("ended", "reset", ["reset"], "ready"),
        ("recording", "takeover", [], "recording"),
        ("recording", "nonsense", [], "recording"),
    ],
)
def test_what_an_event_does_in_a_phase(phase, event, commands, then):
    session = session_in(phase)
    assert (session.hear(True, [event]), session.phase) == (commands, then)


def test_a_solved_episode_stands_still_until_it_is_labelled_otherwise_if_the_operator_likes():
    session = session_in("recording")
    session.stepped(False)
    assert session.playing
    assert session.stepped(True) == []
    assert (session.phase, session.solved, session.playing, session.message) == ("ended", True, False, "solved")
    assert session.hear(True, ["failure"]) == ["failure"]


def test_without_confirmation_a_solved_episode_is_saved_at_once():
    session = session_in("recording", confirm=False)
    assert session.stepped(True) == ["success"]
    assert session.phase == "ready"


def test_an_episode_that_is_over_without_a_result_waits_for_the_operator_even_without_confirmation():
    session = session_in("recording", confirm=False)
    assert session.stepped(False, "a part left the table") == []
    assert session.phase == "ended"
    assert "left the table" in session.message


def test_steps_of_practice_end_nothing():
    session = session_in("ready")
    assert session.playing
    assert session.stepped(True) == []
    assert session.phase == "ready"


def test_a_device_that_falls_silent_pauses_the_episode_until_somebody_resumes_it():
    session = session_in("recording")
    session.hear(False, [])
    assert (session.playing, session.paused) == (False, NO_ANSWER)
    session.hear(True, [])
    assert not session.playing
    session.hear(False, ["resume"])
    assert not session.playing
    session.hear(True, ["resume"])
    assert session.playing


def test_nothing_begins_while_the_device_is_silent():
    session = session_in("ready")
    assert session.hear(False, ["record"]) == []
    assert session.phase == "ready"


def test_a_pause_lasts_until_it_is_resumed_and_beginning_an_episode_resumes():
    session = session_in("recording")
    session.hear(True, ["pause"])
    assert not session.playing
    session.hear(True, ["resume"])
    assert session.playing
    session = session_in("ready")
    session.hear(True, ["pause"])
    assert session.hear(True, ["record"]) == ["begin"]
    assert session.playing


def test_an_emergency_stop_is_only_released_by_rearming_and_then_resuming():
    session = session_in("recording")
    session.hear(True, ["estop"])
    for event in ("resume", "pause", "record"):
        session.hear(True, [event])
        assert session.paused == STOPPED
    session.hear(True, ["rearm"])
    assert not session.playing
    session.hear(True, ["resume"])
    assert session.playing


def test_no_episode_begins_during_an_emergency_stop():
    session = session_in("ready")
    session.hear(True, ["estop"])
    assert session.hear(True, ["record"]) == []


def test_a_policy_acts_until_the_operator_takes_over_and_forgets_its_plan_when_it_acts_again():
    session = session_in("recording", has_policy=True)
    assert session.actor == "policy"
    assert session.hear(True, ["takeover"]) == []
    assert session.actor == "operator"
    assert session.hear(True, ["takeover"]) == []
    assert session.hear(True, ["release"]) == ["release"]
    assert session.actor == "policy"


def test_going_back_while_the_policy_acts_waits_for_the_operator_to_take_over():
    session = session_in("recording", has_policy=True)
    assert session.hear(True, ["undo"]) == ["undo"]
    assert session.paused == WENT_BACK
    session.hear(True, ["takeover"])
    assert (session.playing, session.actor) == (True, "operator")


def test_in_every_new_episode_the_policy_acts_first():
    session = session_in("recording", has_policy=True)
    assert session.hear(True, ["takeover", "success", "record"]) == ["success", "begin"]
    assert session.actor == "policy"


def test_several_events_are_heard_in_their_order():
    session = session_in("ready")
    assert session.hear(True, ["record", "undo", "discard", "reset", "quit"]) == ["begin", "undo", "discard", "reset", "quit"]
