import pytest

from tonggan.errors import UserError
from tonggan.pipeline import Tonggan


@pytest.mark.parametrize("inputs", [[], ()])
def test_nothing_has_no_points(describer: Tonggan, inputs: list[str] | tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="nothing to encode"):
        describer.encode(inputs)
