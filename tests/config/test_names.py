"""Environment variables that begin as ours do and are no setting."""

import pytest
from resty_metrics.config.names import misspelt

KNOWN = ["RESTY_METRICS_SOCKET_PATH", "RESTY_METRICS_WEB_LISTEN_ADDRESS", "RESTY_METRICS_STATE_DIR"]
ELSE = "unknown setting. resty-metrics serve --help lists the settings"


@pytest.mark.parametrize(
    ("variable", "value", "hint"),
    [
        ("RESTY_METRICS_SOCKET_PATH", "/x", None),
        ("RESTY_METRICS_SOKET_PATH", "/x", "unknown setting. Did you mean RESTY_METRICS_SOCKET_PATH?"),
        ("RESTY_METRICS_SOCKET_PTAH", "", "unknown setting. Did you mean RESTY_METRICS_SOCKET_PATH?"),
        ("RESTY_METRICS_STATEDIR", "/x", "unknown setting. Did you mean RESTY_METRICS_STATE_DIR?"),
        ("RESTY_METRICS_QQQ", "/x", ELSE),
        ("RESTY_METRICS_PORT", "19145", ELSE),
        ("RESTY_METRICS_", "", ELSE),
        ("RESTY_METRICS", "", None),
        ("SOCKET_PATH", "/x", None),
        # as Kubernetes sets them in each pod beside a service "resty-metrics"
        ("RESTY_METRICS_PORT", "tcp://10.0.0.1:19145", None),
        ("RESTY_METRICS_SERVICE_HOST", "10.0.0.1", None),
        ("RESTY_METRICS_SERVICE_PORT", "19145", None),
        ("RESTY_METRICS_SERVICE_PORT_METRICS", "19145", None),
        ("RESTY_METRICS_PORT_19145_TCP", "tcp://10.0.0.1:19145", None),
        ("RESTY_METRICS_PORT_19145_TCP_PROTO", "tcp", None),
        ("RESTY_METRICS_PORT_19145_TCP_ADDR", "10.0.0.1", None),
        ("RESTY_METRICS_EDGE_PORT_53_UDP", "udp://10.0.0.1:53", None),
        ("RESTY_METRICS_EDGE_SERVICE_HOST", "10.0.0.1", None),
        ("RESTY_METRICS_EDGE_PORT", "tcp://10.0.0.1:19145", None),
    ],
)
def test_misspelt(variable: str, value: str, hint: str | None) -> None:
    problems = misspelt({variable: value}, KNOWN)
    assert [problem.text("") for problem in problems] == ([] if hint is None else [f"{variable}: {hint}"])
