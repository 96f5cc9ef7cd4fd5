"""The labels of durations, and the two rows that one look-up of a request gives."""

from collections import Counter
from typing import Any

import pytest
from support.luajit import ask

USERS = ["tenant", "route"]
OURS = ["server", "method", "status", "status_class", "scheme"]
CHOSEN: list[tuple[Any, list[str], list[str]]] = [
    (False, USERS, ["server", "status_class", "tenant", "route"]),
    (False, [], ["server", "status_class"]),
    (False, ["scheme"], ["server", "status_class", "scheme"]),
    ("server", USERS, ["server"]),
    ("route server", USERS, ["server", "route"]),
    ("scheme status\tmethod  server", USERS, ["server", "method", "status", "scheme"]),
    ("otel", USERS, ["server", "method", "status", "scheme"]),
    ("tenant otel otel", USERS, ["server", "method", "status", "scheme", "tenant"]),
    ("*", USERS, [*OURS, *USERS]),
    ("* server", ["scheme"], OURS),
    ("route tenant", USERS, USERS),
]


@pytest.mark.parametrize(("text", "names", "labels"), CHOSEN)
def test_the_labels_are_chosen(text: Any, names: list[str], labels: list[str]) -> None:
    """A scope stands behind those of ours, before those of the user."""
    ((chosen, reason, _, scoped),) = ask(["duration_labels", text, names])
    assert [name.decode() for name in chosen] == labels
    assert reason is False
    ours = [name for name in labels if name in OURS]
    assert [name.decode() for name in scoped] == [*ours, "scope", *labels[len(ours) :]]


@pytest.mark.parametrize(
    ("text", "among"), [("server zone", ["server"]), ("Server", []), ("otel,server", []), ("le", [])]
)
def test_a_label_that_is_not_there_is_refused(text: str, among: list[str]) -> None:
    """A scope that takes the choice of the include leaves it out."""
    ((chosen, reason, left, _),) = ask(["duration_labels", text, USERS])
    assert chosen is False
    assert text.split()[-1].encode() in reason
    assert b"status_class" in reason
    assert [name.decode() for name in left or []] == among


def test_the_class_of_a_status() -> None:
    statuses = [0, 9, 99, 100, 199, 200, 304, 499, 500, 599, 600, 999]
    (classes,) = ask(["status_classes", statuses])
    expected = ["other"] * 3 + ["1xx", "1xx", "2xx", "3xx", "4xx", "5xx", "5xx", "other", "other"]
    assert [name.decode() for name in classes] == expected


def rows(cap: int, chosen: str, steps: list[Any]) -> tuple[Counter[str], Counter[str], int, int]:
    ((counted, observed, live, overflowed),) = ask(["pairs_of_rows", cap, chosen, steps])
    both = [Counter({key.decode(): value for key, value in (sums or {}).items()}) for sums in (counted, observed)]
    return both[0], both[1], live, overflowed


def test_one_request_counts_in_both_rows() -> None:
    counted, observed, _, _ = rows(
        10, "status_class", [["a", 200], ["a", 204], ["b", 200], ["a", 101], ["a", 502], ["", 0]]
    )
    assert counted == {
        "a.example|GET|200|a": 1, "a.example|GET|204|a": 1, "a.example|GET|200|b": 1, "a.example|GET|101|a": 1,
        "a.example|GET|502|a": 1, "a.example|GET|000|_": 1,
    }  # fmt: skip
    assert observed == {"2xx": 3, "5xx": 1, "other": 1}


def test_durations_without_room_stay_with_other_until_rows_are_evicted() -> None:
    """They overflow once for each label set, not at each request; an hour later the idle rows make room."""
    steps: list[Any] = [[f"t{number}", 200] for number in range(16)] * 3
    counted, observed, live, overflowed = rows(10, "server tenant", steps)
    assert counted == {f"a.example|GET|200|t{number}": 3 for number in range(16)}
    assert observed == {f"a.example|t{number}": 3 for number in range(10)} | {"a.example|other": 18}
    assert (live, overflowed) == (11, 6)
    later = [*steps, {"idle": 3700}, ["new", 200], ["t15", 200], ["t0", 200], ["new", 200]]
    counted, observed, live, overflowed = rows(10, "server tenant", later)
    assert sum(counted.values()) == sum(observed.values()) == 52
    assert observed == {f"a.example|t{number}": 3 for number in range(1, 10)} | {
        "a.example|other": 18, "a.example|t0": 4, "a.example|t15": 1, "a.example|new": 2,
    }  # fmt: skip
    assert (live, overflowed) == (3, 6)


def test_rows_of_both_families_are_given_to_others_at_different_times() -> None:
    """No leaf points at a row that belongs to another label set by now."""
    steps: list[Any] = []
    for hour in range(20):
        steps += [[f"{hour}-{number}", 200] for number in range(40)] * 2
        steps.append({"idle": 3700})
    counted, observed, _, _ = rows(50, "tenant", steps)
    assert counted == {f"a.example|GET|200|{hour}-{number}": 2 for hour in range(20) for number in range(40)}
    assert observed == {f"{hour}-{number}": 2 for hour in range(20) for number in range(40)}
