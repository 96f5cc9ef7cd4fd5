"""The collector's own words about its troubles, from ``/-/ready``: no metric names users and files, these lines do.

Source of the form of a line: observer/lines.py, and health/judge.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from resty_metrics.commands.doctor.finding import Finding, as_remedy
from resty_metrics.commands.doctor.nginx_deaths import workers
from resty_metrics.health import troubles as kinds
from resty_metrics.health.judge import LOG_HAS
from resty_metrics.health.troubles import Kind, title_of
from resty_metrics.kernel.access import user_label

DEGRADED = "degraded: "
_USER = re.compile(r"\buid (\d+)")
_NUMBER = re.compile(r"(?<!\()\buid (\d+)")
_REASON = re.compile(r"datagrams? \((\w+)\)")
_HANGUP = re.compile(r"kill -HUP \d+")


@dataclass(frozen=True, slots=True)
class ReadyWords:
    """The collector's own words about its troubles.

    ``ready``: the text of /-/ready; ``pid``: the collector's, as it is seen from here; ``names``: of users that the
    collector may not know.
    """

    ready: str = ""
    pid: int | None = None
    names: Mapping[int, str] = field(default_factory=dict)

    def of(self, kind: Kind, nginx: str) -> str:
        """Return evidence and remedy of a trouble, "" where they are not known."""
        start = f"{DEGRADED}{title(kind, nginx)}: "
        line = next((line for line in self.ready.splitlines() if line.startswith(start)), "")
        return line.removeprefix(start).partition(" Run: sudo ")[0]

    def named(self, text: str) -> str:
        """Return a text with the name of each user that has only its number there."""
        return _NUMBER.sub(lambda match: user_label(int(match[1]), self.names.get(int(match[1]))), text)

    def reloading(self, text: str) -> str:
        """Return a text whose command reloads the collector from here."""
        return text if self.pid is None else _HANGUP.sub(f"kill -HUP {self.pid}", text)


NO_WORDS = ReadyWords()


def title(kind: Kind, nginx: str) -> str:
    """Return the title of a trouble as the start of a line."""
    text = title_of(kind, nginx)
    return f"{text[:1].lower()}{text[1:]}"


def in_words(finding: Finding, kind: Kind, nginx: str, words: ReadyWords) -> Finding:
    """Return the finding with the names of users and files, and the number of workers, that only these words have."""
    own, start = words.of(kind, nginx), title(kind, nginx)
    if kind is kinds.REFUSALS and own:
        evidence, _, remedy = words.named(own).partition(". ")
        return replace(finding, evidence=f"{start}: {evidence}", remedy=as_remedy(remedy), parts=_refused(evidence))
    if kind is kinds.CONFIG_REFUSED and own:
        files, _, remedy = words.reloading(own).partition(f"; {LOG_HAS}. ")
        return replace(finding, evidence=f"{start}: {files}; {LOG_HAS}", remedy=as_remedy(remedy))
    if kind is kinds.WORKER_ERRORS and own:  # the page has only sums, some of which outlive a repair
        return replace(finding, evidence=f"{start}: {own.partition('. ')[0]}")
    if kind is kinds.WORKERS_MISSING and own[:1].isdigit():
        return replace(finding, parts=workers(int(own.split()[0])))
    return finding


def _refused(evidence: str) -> frozenset[str]:
    """Return the refused users, and the reasons of other refusals."""
    users, reasons = _USER.findall(evidence), _REASON.findall(evidence)
    more = ["more"] if evidence.endswith(" more") else []
    return frozenset([*(f"uid {uid}" for uid in users), *reasons, *more])
