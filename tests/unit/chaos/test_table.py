"""The table of many rounds."""

from chaos.table import Row, as_json, render


def test_the_table() -> None:
    """A line for each fault, in columns; without strikes there is no stall."""
    rows = [
        Row("none", rounds=1, inputs=10_000),
        Row("kill worker", rounds=2, strikes=9, inputs=20_000, stall_s=8.25),
    ]
    assert render(rows).splitlines() == [
        "| fault       | rounds | strikes | inputs | lost | duplicated | wrong | run again | longest stall |",
        "|-------------|--------|---------|--------|------|------------|-------|-----------|---------------|",
        "| none        | 1      | 0       | 10,000 | 0    | 0          | 0     | 0         | -             |",
        "| kill worker | 2      | 9       | 20,000 | 0    | 0          | 0     | 0         | 8.2 s         |",
    ]
    assert as_json(rows)[1]["stall_s"] == 8.25
