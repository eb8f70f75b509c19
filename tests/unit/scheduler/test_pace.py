"""afield_scheduler.pace: run times, by function."""

from hypothesis import given
from hypothesis import strategies as st

from afield._wire.functions import WorkerRecord
from afield_scheduler.pace import Pace
from support.fleet import worker

reports = st.tuples(
    st.sampled_from(["wk-1", "wk-2", "wk-3"]),
    st.none() | st.dictionaries(st.sampled_from(["fu-1", "fu-2", "fu-3"]), st.sampled_from([0.5, 1.0, 4.0])),
)


@given(st.lists(reports, max_size=20))
def test_means_are_those_of_the_last_reports(history: list[tuple[str, dict[str, float] | None]]) -> None:
    """After any reports and departures (None): the mean over the workers that have one now."""
    workers: dict[str, WorkerRecord] = {}
    pace = Pace()
    for worker_id, means in history:
        old = workers.pop(worker_id, None)
        if means is not None:
            workers[worker_id] = worker(worker_id, pack_seconds=means)
        pace.report(old, workers.get(worker_id))
    for function_id in ("fu-1", "fu-2", "fu-3"):
        known = [w.pack_seconds[function_id] for w in workers.values() if function_id in w.pack_seconds]
        assert pace.mean(function_id) == (sum(known) / len(known) if known else None)
