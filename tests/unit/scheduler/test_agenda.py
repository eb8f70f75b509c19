"""afield_scheduler.agenda: what is due when."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from afield_scheduler.agenda import BATCH_S, Agenda


def test_the_earlier_date_stays() -> None:
    """A function is looked at by the earliest of the dates given."""
    agenda = Agenda()
    agenda.at_latest("f", 5.0)
    agenda.at_latest("f", 9.0)
    assert agenda.next_due() == 5.0
    agenda.at_latest("f", 2.0)
    assert agenda.next_due() == 2.0


def test_it_says_when_to_wake_earlier() -> None:
    """Only a date before all others makes the sleeper wake."""
    agenda = Agenda()
    assert agenda.at_latest("f", 5.0)
    assert not agenda.at_latest("g", 6.0)
    assert agenda.at_latest("g", 4.0)


def test_due_functions_come_together() -> None:
    """What is due in a moment is taken along, what is not stays."""
    agenda = Agenda()
    agenda.at_latest("f", 1.0)
    agenda.at_latest("g", 1.0 + BATCH_S / 2)
    agenda.at_latest("h", 2.0)
    assert agenda.pop_due(0.99) == []
    assert agenda.pop_due(1.0) == ["f", "g"]
    assert (agenda.next_due(), "h" in agenda, "f" in agenda) == (2.0, True, False)


def test_nothing_planned_nothing_due() -> None:
    """An empty agenda has no date, also after everything was cancelled."""
    agenda = Agenda()
    agenda.at_latest("f", 1.0)
    agenda.cancel("f")
    agenda.at_latest("g", 1.0)
    agenda.clear()
    assert agenda.next_due() is None
    assert agenda.pop_due(99.0) == []


dates = st.tuples(st.sampled_from("abcd"), st.sampled_from([None, 0.0, 0.5, 1.0, 2.0]))


@given(st.lists(dates, max_size=30), st.sampled_from([0.0, 0.5, 3.0]))
def test_an_agenda_is_the_earliest_date_of_each(history: list[tuple[str, float | None]], now: float) -> None:
    """Whatever was planned, brought forward and cancelled before (None): what is due is what a table of all would say."""
    agenda, table = Agenda(), dict[str, float]()
    for name, due in history:
        if due is None:
            agenda.cancel(name)
            table.pop(name, None)
        else:
            earlier = due < table.get(name, inf)
            table[name] = min(due, table.get(name, inf))
            assert agenda.at_latest(name, due) == (earlier and due == min(table.values()))
    assert agenda.next_due() == min(table.values(), default=None)
    soon = {name for name, due in table.items() if due <= now + BATCH_S}
    assert set(agenda.pop_due(now)) == (soon if min(table.values(), default=inf) <= now else set())


def test_dates_that_hold_no_more_are_not_kept_for_ever() -> None:
    """A look that is brought forward again and again is one date, or some, but not one for each time."""
    agenda = Agenda()
    for n in range(10_000):
        agenda.at_latest("f", -float(n))
        agenda.at_latest("g", 1.0)
    assert len(agenda._dates) < 2_000
    assert agenda.pop_due(-9_999.0) == ["f"]
