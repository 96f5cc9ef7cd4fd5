"""The request of the proof on the page."""

import pytest
from resty_metrics.commands.install import proof

PAGE = """\
# HELP nginx_http_responses_total Requests.
# TYPE nginx_http_responses_total counter
nginx_http_responses_total{server="a",method="GET",status="400"} 7.0
nginx_http_responses_total{server="a",method="other",status="400"} 2.0
nginx_http_responses_total{server="b",method="other",status="400",tenant="x"} 1.0
nginx_http_responses_total{server="b",method="other",status="405"} 5.0
# HELP nginx_http_responses_total_of_mine Others.
# TYPE nginx_http_responses_total_of_mine gauge
nginx_http_responses_total_of_mine{method="other",status="400"} 100.0
"""


@pytest.mark.parametrize(("status", "count"), [(400, 3), (405, 5), (200, 0)])
def test_counted(status: int, count: int) -> None:
    assert proof.counted(PAGE, status) == count


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n", 400),
        (b"HTTP/1.0 200\r\n", 200),
        (b"", None),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", None),
        (b"SSH-2.0-OpenSSH_9.2\r\n", None),
        (b"HTTP/1.1\r\n", None),
    ],
)
def test_status(answer: bytes, status: int | None) -> None:
    assert proof.status_of(answer) == status
