"""afield_scheduler.order: names by their keys."""

from hypothesis import given
from hypothesis import strategies as st

from afield_scheduler.order import Order

changes = st.lists(st.tuples(st.sampled_from("abcde"), st.none() | st.integers(0, 3)), max_size=40)


@given(changes)
def test_an_order_is_what_sorting_gives(history: list[tuple[str, int | None]]) -> None:
    """After any puts and removals (None): all names, by key and then by name."""
    order, table = Order[int](), dict[str, int]()
    for name, key in history:
        if key is None:
            order.remove(name)
            table.pop(name, None)
        else:
            order.put(name, key)
            table[name] = key
    assert list(order) == sorted((key, name) for name, key in table.items())
    assert len(order) == len(table)
