"""Tables of what runs."""

from afield.cli.fleet import lined_up

ROWS = [
    ("APP", "ID", "FUNCTIONS"),
    ("counter", "ap-3djmct7476zeknty", "count, count-again"),
    ("-", "ap-uhusag26dy5csxd5", "-"),
]


def test_columns_are_lined_up() -> None:
    """Where they fit, and where the output is for programs."""
    lines = lined_up(ROWS)

    assert (
        lines
        == lined_up(ROWS, 48)
        == [
            "APP      ID                   FUNCTIONS",
            "counter  ap-3djmct7476zeknty  count, count-again",
            "-        ap-uhusag26dy5csxd5  -",
        ]
    )


def test_cells_of_a_narrow_terminal_stand_one_below_another() -> None:
    """No word is broken, an id least of all."""
    assert lined_up(ROWS, 26) == [
        "APP        counter",
        "ID         ap-3djmct7476zeknty",
        "FUNCTIONS  count,",
        "           count-again",
        "",
        "APP        -",
        "ID         ap-uhusag26dy5csxd5",
        "FUNCTIONS  -",
    ]
