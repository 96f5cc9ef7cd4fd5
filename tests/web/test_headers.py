"""Accept and Accept-Encoding: a weight of 0 means never, and an unreadable weight asks for nothing."""

import pytest
from resty_metrics.web.headers import Encoding, Format, choose_encoding, choose_format
from web.test_server import PROMETHEUS_2, PROMETHEUS_3

OM = "application/openmetrics-text"
VMAGENT = "text/plain;version=0.0.4;q=1,*/*;q=0.1"
TELEGRAF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=.7,"
    "text/plain;version=0.0.4;q=.3"
)

FORMATS: list[tuple[str, Format | None]] = [
    ("", "text"),
    ("*/*", "text"),
    (OM, "openmetrics"),
    (PROMETHEUS_2, "openmetrics"),
    (PROMETHEUS_3, "openmetrics"),
    (VMAGENT, "text"),
    (TELEGRAF, "text"),
    (f"{OM};version=0.0.1", "openmetrics"),
    (f'{OM}; version="1.0.0"', "openmetrics"),
    (f"{OM};version=2.0.0", "text"),
    (f"{OM}, */*", "openmetrics"),
    (f"{OM};q=0.2, text/plain;q=0.7", "text"),
    (f"text/plain;q=0.2, {OM};q=0.7", "openmetrics"),
    # never
    (f"{OM};q=0", "text"),
    (f"{OM};q=0, */*", "text"),
    (f"{OM};q=0.000, text/plain;q=0.1", "text"),
    (f"{OM} ; Q = 0", "text"),
    (f"{OM.upper()};q=0", "text"),
    (f"{OM};q=0, {OM}", "text"),
    (f"{OM};version=1.0.0;q=0, {OM};version=0.0.1", "text"),
    ("text/plain;q=0, */*", "openmetrics"),
    ("text/*;q=0, application/*", "openmetrics"),
    (f"*/*;q=0, {OM}", "openmetrics"),
    ("*/*;q=0, text/plain", "text"),
    ("*/*;q=0", None),
    (f"{OM};q=0, text/plain;q=0", None),
    (f"text/plain;q=0.0, {OM};q=x", None),
    # unreadable
    (f"{OM};q=x", "text"),
    (f"{OM};q=", "text"),
    (f"{OM};q=-1", "text"),
    (f"{OM};q=2", "text"),
    (f"{OM};q=nan", "text"),
    (f"{OM};q=1e-1", "text"),
    (f"text/plain;q=x, {OM};q=0.1", "openmetrics"),
    (";;,,q=", "text"),
]


@pytest.mark.parametrize(("accept", "expected"), FORMATS)
def test_a_format(accept: str, expected: Format | None) -> None:
    assert choose_format(accept) == expected


ENCODINGS: list[tuple[str, Encoding | None]] = [
    ("", "identity"),
    ("gzip", "gzip"),
    ("GZip", "gzip"),
    (" gzip ; q=1.000 , deflate", "gzip"),
    ("deflate;q=1, gzip;q=0.5", "gzip"),
    ("gzip;q=.5", "gzip"),
    ("gzip;q=0.2, identity;q=0.8", "identity"),
    ("gzip;q=0.8, identity;q=0.2", "gzip"),
    ("*", "identity"),
    ("br", "identity"),
    # never
    ("gzip;q=0", "identity"),
    ("gzip;q=0.0, *", "identity"),
    ("GZIP ; Q=0", "identity"),
    ("gzip, gzip;q=0", "identity"),
    ("gzip;q=0, identity;q=0", None),
    ("*;q=0", None),
    ("*;q=0, gzip", "gzip"),
    ("*;q=0, identity", "identity"),
    ("*;q=0, gzip;q=0", None),
    ("identity;q=0", None),
    ("identity;q=0, gzip", "gzip"),
    ("identity;q=0, *", "gzip"),
    ("identity;q=0, gzip;q=0, *", None),
    # unreadable
    ("gzip;q=x", "identity"),
    ("gzip;q=", "identity"),
    ("gzip;q=-0", "identity"),
    ("gzip;q=1.5", "identity"),
    ("*;q=x", "identity"),
]


@pytest.mark.parametrize(("accept", "expected"), ENCODINGS)
def test_an_encoding(accept: str, expected: Encoding | None) -> None:
    assert choose_encoding(accept) == expected
