import pytest

from tonggan.training.choice import Choice


@pytest.mark.parametrize(
    ("choice", "figures", "best", "told"),
    [
        (Choice("loss", higher=False), (0.5, 0.25, 0.75), 0.25, "best held-out loss 0.2500"),
        (Choice("loss", higher=False, apart=False), (0.5, 0.25), 0.25, "best loss on what is trained on 0.2500"),
        (Choice("kernel_distance", higher=False), (0.1, -0.002, 0.3), -0.002, "best kernel_distance -0.0020"),
        (Choice("onset_f1", higher=True), (0.5, 0.75), 0.75, "best onset_f1 0.7500"),
        (Choice("latest", higher=True), (1000, 2000), 2000, "the average of step 2,000"),
    ],
)
def test_the_best_figure_has_the_lowest_score_and_is_told_with_its_sign(choice: Choice, figures: tuple[float, ...], best: float, told: str) -> None:
    lowest = min(choice.score(figure) for figure in figures)
    assert choice.figure(lowest) == best
    assert choice.told(lowest) == told
