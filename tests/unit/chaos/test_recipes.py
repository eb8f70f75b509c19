"""The inputs of a round."""

import pytest

from chaos.recipes import RETRIES, Recipe, executions, expected, make_recipes, number_of


def test_all_kinds_are_there() -> None:
    """In about the shares asked for; the same seed gives the same ones."""
    recipes = make_recipes(1, 2000, 100.0)
    assert recipes == make_recipes(1, 2000, 100.0)
    assert [recipe.number for recipe in recipes] == list(range(2000))
    assert {recipe.kind for recipe in recipes} == {"quick", "slow", "flaky", "hopeless"}
    assert 70 < sum(recipe.seconds for recipe in recipes) < 130


def test_what_must_come_of_an_input() -> None:
    """A value that tells the inputs apart, or its error, after as many executions as its retries allow."""
    for recipe in make_recipes(2, 1000, 50.0):
        assert 1 <= executions(recipe) <= RETRIES + 1
        assert expected(recipe).startswith("!") == (recipe.kind == "hopeless")
        assert (executions(recipe) > 1) == (recipe.kind in ("flaky", "hopeless"))


@pytest.mark.parametrize("number", [0, 1, 9_999])
def test_a_result_tells_its_input(number: int) -> None:
    """Whether it is a value or an error."""
    for recipe in (Recipe(number, "quick", 0.0, 0), Recipe(number, "hopeless", 0.0, -1)):
        said = expected(recipe)
        assert number_of(int(said) if said.isdigit() else said) == number
