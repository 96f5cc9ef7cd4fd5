"""Workers that were killed or crashed, as nginx's error log has them."""

import pytest
from resty_metrics.commands.doctor import nginx_deaths as deaths
from resty_metrics.commands.doctor.nginx_deaths import Death, Log

LOG = """\
2024/03/01 09:00:00 [alert] 70#70: worker process 71 exited on signal 11 (core dumped)
2024/03/01 10:30:00 [notice] 70#70: worker process 72 exited with code 0
2024/03/01 10:31:00 [alert] 70#70: worker process 73 exited on signal 9
2024/03/01 10:31:00 [notice] 70#70: start worker process 74
2024/03/01 10:32:00 [error] 74#74: *1 GET /worker process 75 exited on signal 9
2024/03/01 10:33:00 [alert] 70#70: cache manager process 76 exited on signal 9
2024/03/01 10:40:00 [alert] 70#70: worker process 77 exited with fatal code 2 and cannot be respawned
2024/03/01 12:00:00 [alert] 70#70: worker process 78 exited on signal 9
"""
SINCE, UNTIL = "2024/03/01 10:00:00", "2024/03/01 11:01:00"


def test_those_of_the_hour() -> None:
    assert deaths.read(LOG, SINCE, UNTIL) == [
        Death("2024/03/01 10:31:00", 70, 73, 9),
        Death("2024/03/01 10:40:00", 70, 77, None),
    ]


def line(how: str) -> str:
    return f"2024/03/01 10:31:00 [alert] 70#70: worker process 73 exited {how}\n"


JUDGED = [
    ("", "OK", "no worker died in the last hour", ""),
    (None, "SKIP", "cannot be read", ""),
    (line("on signal 9"), "WARN", "1 workers died in the last hour, the last was 73 on signal 9 (SIGKILL)", "dmesg"),
    (line("on signal 9") * 3, "WARN", "3 workers", "killed it"),
    (line("on signal 11 (core dumped)"), "WARN", "SIGSEGV", "crashed"),
    (line("on signal 40"), "WARN", "73 on signal 40 at 2024/03/01 10:31:00", "crashed"),
    (line("with fatal code 2 and cannot be respawned"), "WARN", "73 with a fatal code", "restart nginx"),
]


@pytest.mark.parametrize(("text", "verdict", "words", "remedy"), JUDGED)
def test_the_verdict(text: str | None, verdict: str, words: str, remedy: str) -> None:
    (finding,) = deaths.check([Log("/e.log", text, SINCE, UNTIL)])
    assert (finding.check, finding.verdict) == ("workers.died", verdict)
    assert words in finding.evidence
    assert "/e.log" in finding.evidence
    assert remedy in (finding.remedy or "")
