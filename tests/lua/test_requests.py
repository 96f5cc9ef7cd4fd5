"""The hot path under plain LuaJIT: what clients invent costs no memory."""

import pytest
from support.luajit import ask


@pytest.mark.parametrize("length", [10, 32, 33, 4000])
def test_methods_that_clients_invent_fill_no_memory(length: int) -> None:
    """A method may be as long as large_client_header_buffers allows; each of 10,000 was kept for the look-up."""
    (result,) = ask(["methods", 10_000, length])
    kilobytes, rows, requests = result
    assert (rows, requests) == (1, 10_000)
    assert kilobytes < 5_000
