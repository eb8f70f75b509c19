"""Cannot be imported."""


def inner() -> None:
    import a_module_that_is_not_there  # type: ignore[import-not-found]  # noqa: F401


inner()
