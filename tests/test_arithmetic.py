from tonggan.arithmetic import Rate, choose_dtype, decide


def test_half_precision_only_where_right_and_faster_everywhere() -> None:
    assert decide({"linear": Rate(100, 300, 0.002), "convolution": Rate(100, 200, 0.002)}).dtype == "bfloat16"
    assert decide({"linear": Rate(100, 300, 0.002), "convolution": Rate(100, 90, 0.002)}).dtype == "float32"
    assert decide({"linear": Rate(100, 300, 0.5)}).dtype == "float32"
    assert decide({"linear": Rate(100, 300, float("nan"))}).dtype == "float32"


def test_the_choice_gives_its_reason() -> None:
    choice = choose_dtype()
    assert choice.dtype in ("float32", "bfloat16")
    assert set(choice.rates) == {"linear", "convolution"}
    assert "this machine" in choice.reason or "wrong" in choice.reason
