"""afield_scheduler.agenda: what is due when."""

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
