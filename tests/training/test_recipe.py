from pathlib import Path

from tonggan.training.recipe import load_recipe


def test_other_data_is_not_said_to_come_from_where_the_recipes_own_does(tmp_path: Path) -> None:
    assert "Noto" in load_recipe("emoji-64").data.source
    assert load_recipe("emoji-64", overrides=["data.path=mine"]).data.source == ""
    assert load_recipe("emoji-64", overrides=["data.path=mine", "data.source=my own"]).data.source == "my own"
    for said, source in (("", ""), ("  source: my own\n", "my own")):
        recipe = tmp_path / "mine.yaml"
        recipe.write_text(f"base: emoji-64\ndata:\n  path: mine\n{said}", encoding="utf-8")
        assert load_recipe(str(recipe)).data.source == source
    assert "Noto" in load_recipe("emoji-64-words").data.source
