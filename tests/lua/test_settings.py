"""Buckets as they stand in nginx's configuration."""

from typing import Any

import pytest
from support.luajit import ask

READ = [
    ("1", [1000]),
    ("0.005 0.01 10", [5, 10, 10000]),
    ("  0.001\t0.002  ", [1, 2]),
    ("0.1 0.25 0.5", [100, 250, 500]),
    (" ".join(str(n) for n in range(1, 65)), [n * 1000 for n in range(1, 65)]),
]
REFUSED = ["", "  ", "fast", "1 2 x", "2 1", "1 1", "0.0001 0.0002", "0", "-1", "nan", "inf", "1e99", "0.0001"]


@pytest.mark.parametrize(("text", "bounds"), READ)
def test_are_read_as_milliseconds(text: str, bounds: list[int]) -> None:
    assert ask(["bounds", text]) == [[bounds, False]]


@pytest.mark.parametrize("text", REFUSED)
def test_are_refused_with_what_to_do(text: str) -> None:
    ((bounds, reason),) = ask(["bounds", text])
    assert bounds is False
    assert b"bucket" in reason


LABELS = [
    ("", [], []),
    ("tenant=http_x_tenant", ["tenant"], ["http_x_tenant"]),
    ("  b=arg_b\ta=$arg_a ", ["b", "a"], ["arg_b", "arg_a"]),
    (["b=x", "a=y"], ["b", "a"], ["x", "y"]),
    ({"b": "x", "a": "y"}, ["a", "b"], ["y", "x"]),
    (" ".join(f"l{n}=v" for n in range(26)), [f"l{n}" for n in range(26)], ["v"] * 26),
    ("scheme=http_x_forwarded_proto", ["scheme"], ["http_x_forwarded_proto"]),
]
BAD_LABELS = [
    "tenant",
    "=x",
    "a=",
    "a-b=x",
    "1a=x",
    "__a=x",
    "le=x",
    "status=x",
    "scope=x",
    "status_class=x",
    "a=x a=y",
    "a=x,b=y",
    "a=${x}",
    "a=b=c",
    "a" * 129 + "=x",
    " ".join(f"l{n}=v" for n in range(27)),
    7,
]


@pytest.mark.parametrize(("stated", "names", "variables"), LABELS)
def test_labels_are_read(stated: Any, names: list[str], variables: list[str]) -> None:
    ((labels, of_nginx, reason),) = ask(["labels", stated])
    assert reason is False
    assert [name.decode() for name in labels or []] == names
    assert [name.decode() for name in of_nginx or []] == variables


@pytest.mark.parametrize("stated", BAD_LABELS)
def test_labels_are_refused_with_why(stated: Any) -> None:
    ((labels, _, reason),) = ask(["labels", stated])
    assert labels is False
    assert reason


@pytest.mark.parametrize("name", ["a", "web-1.eu_WEST", "0", "x" * 64, "-", "."])
def test_the_name_of_an_nginx_is_read(name: str) -> None:
    assert ask(["nginx", name]) == [[name.encode(), False]]


@pytest.mark.parametrize("stated", ["", None])
def test_an_nginx_may_have_no_name(stated: str | None) -> None:
    assert ask(["nginx", stated]) == [[False, False]]


@pytest.mark.parametrize(
    "stated", ["x" * 65, "a b", "a/b", "a\nb", "k\u00f6ln", '"', "$hostname", " ", 7, {"a": 1}, True]
)
def test_what_cannot_be_the_name_of_an_nginx(stated: Any) -> None:
    """The reason is printable ASCII, whatever was stated."""
    ((name, reason),) = ask(["nginx", stated])
    assert name is False
    assert b"A-Z a-z 0-9 _ . -" in reason
    assert all(32 <= byte < 127 for byte in reason)
