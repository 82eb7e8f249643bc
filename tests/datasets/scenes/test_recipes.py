"""Choosing the kinds and classes of scenes."""

import numpy as np
import pytest

from otomatch.datasets.scenes.recipes import every_recipe, random_recipes


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_all_combinations_of_n_classes_are_n_plus_2_n_times_n_minus_1(n):
    labels = [f"class {i}" for i in range(n)]
    recipes = every_recipe(labels)
    assert len(recipes) == n + 2 * n * (n - 1)
    assert len(set(recipes)) == len(recipes)
    assert sum(recipe.kind == "single" for recipe in recipes) == n


def test_random_scenes_are_mostly_pairs_and_balanced_over_classes_and_pairs():
    labels = [f"class {i}" for i in range(10)]
    recipes = random_recipes(labels, 3000, np.random.default_rng(0))
    kinds = [recipe.kind for recipe in recipes]
    assert [kinds.count(kind) for kind in ("single", "sequence", "overlap")] == [300, 1350, 1350]
    for kind in set(kinds):
        chosen = [recipe.labels for recipe in recipes if recipe.kind == kind]
        each = {labels: chosen.count(labels) for labels in set(chosen)}
        assert len(each) == (10 if kind == "single" else 90)
        assert max(each.values()) - min(each.values()) <= 1
    # In random order: a prefix already holds all kinds.
    assert set(kinds[:40]) == {"single", "sequence", "overlap"}


def test_random_scenes_of_one_class_are_all_singles():
    recipes = random_recipes(["dog"], 7, np.random.default_rng(0))
    assert [recipe.kind for recipe in recipes] == ["single"] * 7


def test_random_scenes_keep_to_the_pairs_that_may_meet():
    labels = list("abcdef")
    recipes = random_recipes(
        labels, 200, np.random.default_rng(0), lambda a, b: {a, b} != {"a", "b"}
    )
    assert len(recipes) == 200
    assert not any(set(recipe.labels) == {"a", "b"} for recipe in recipes)
