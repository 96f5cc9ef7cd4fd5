"""Numbers of nginx's variables: read digit by digit, or from a string where that is all there is."""

import random

import pytest
from support.luajit import ask


def test_each_length_and_each_digit() -> None:
    rng = random.Random(1)
    ends = [end for length in range(1, 8) for end in ("0" * length, "9" * length, "1" + "0" * (length - 1))]
    texts = [*ends, *(str(rng.randrange(10 ** rng.randint(1, 7))) for _ in range(2_000))]
    ((most, numbers),) = ask(["decimals", texts])
    assert most == 7
    assert numbers == [int(text) for text in texts]


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("123456789012", 123456789012), ("", 0), ("-", 0), (None, 0)])
def test_where_there_is_nothing_to_ask_but_ngx_var(text: str | None, number: int) -> None:
    assert ask(["reader", text]) == [[number, False]]
