"""The key of a server under plain LuaJIT."""

from support.luajit import ask


def test_the_key_of_a_server_is_the_place_of_its_name() -> None:
    requests = [[0, "a.example"], [20, "b.example"], [0, "a.example"], [40, ""], [20, "b.example"]]
    assert ask(["server_keys", requests]) == [[0, 20, 0, b"", 20]]


def test_a_place_that_another_name_has_taken_is_no_key_any_more() -> None:
    """No nginx that we know does this. If one did, requests would be counted for another server."""
    requests = [[0, "a.example"], [20, "b.example"], [0, "c.example"], [20, "b.example"], [0, "a.example"]]
    assert ask(["server_keys", requests]) == [[0, 20, 0, b"b.example", b"a.example"]]
