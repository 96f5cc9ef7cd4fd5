"""The request of the proof, in bytes and on the page."""

from resty_metrics.commands.install import proof

PAGE = """\
# HELP nginx_http_responses_total Requests.
# TYPE nginx_http_responses_total counter
nginx_http_responses_total{server="a",method="GET",status="400"} 7.0
nginx_http_responses_total{server="a",method="other",status="400"} 2.0
nginx_http_responses_total{server="b",method="other",status="400",tenant="x"} 1.0
nginx_http_responses_total{server="b",method="other",status="405"} 5.0
nginx_http_responses_total{server="c",method="other",status="000"} 10.0
# HELP nginx_http_responses_total_of_mine Others.
# TYPE nginx_http_responses_total_of_mine gauge
nginx_http_responses_total_of_mine{method="other",status="400"} 100.0
"""


def test_counted() -> None:
    assert proof.counted(PAGE) == 13
    assert proof.counted("") == 0


def test_the_request_has_no_end() -> None:
    assert b"\n" not in proof.REQUEST
    assert b"\r" not in proof.REQUEST


def test_the_frames_of_http2() -> None:
    preface, frames = proof.HTTP2_REQUEST[:24], proof.HTTP2_REQUEST[24:]
    assert preface == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    assert frames == bytes.fromhex("000000 04 00 00000000  000010 01 05 00000001  02 0d") + b"RESTY_METRICS\xbe"
