"""The outcome of a check: one line with a verdict, the evidence, and the remedy.

Rules:
- The name of a check is an interface: scripts match on it, ``docs/doctor.md`` lists it.
- An unknown fact is never OK. SKIP: it cannot be known yet, and that is no fault (coverage in the first minutes). WARN,
  beginning with "not known": it should be known, and the remedy says how.
- A check that does not apply to this machine (SELinux where there is none) makes no finding.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

# Parts of findings about requests that are not counted.
ALL_REQUESTS = "all requests"
LATE_REQUESTS = "requests of the last five minutes"
UNKNOWN_NGINX = "?"  # an nginx whose name is not known; no nginx has this name


class Verdict(StrEnum):
    OK = "OK"
    SKIP = "SKIP"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``remedy`` is None where there is nothing to do.

    ``trouble``: the name of the trouble that the collector reports, None for what doctor itself found. The others are
    for folding: ``nginx``: the name of the nginx that it concerns, "" for one without a name, None if it concerns none
    in particular; ``parts``: what it is about in more detail (users, sources, ...), as far as that is known;
    ``is_cause``: other findings may follow from it; ``may_follow``: it may follow from others.
    """

    check: str
    verdict: Verdict
    evidence: str
    remedy: str | None = None
    trouble: str | None = None
    nginx: str | None = None
    parts: frozenset[str] = frozenset()
    is_cause: bool = True
    may_follow: bool = True

    @property
    def is_problem(self) -> bool:
        """Return whether something is to be done."""
        return self.verdict in (Verdict.WARN, Verdict.FAIL)


def ok(check: str, evidence: str) -> Finding:
    return Finding(check, Verdict.OK, evidence)


def skip(check: str, why: str) -> Finding:
    return Finding(check, Verdict.SKIP, f"not known: {why}")


def warn(check: str, evidence: str, remedy: str) -> Finding:
    return Finding(check, Verdict.WARN, evidence, remedy)


def fail(check: str, evidence: str, remedy: str) -> Finding:
    return Finding(check, Verdict.FAIL, evidence, remedy)


def not_known(check: str, why: str, remedy: str) -> Finding:
    """Report a fact that should be known: no cause of anything, and no consequence."""
    return Finding(check, Verdict.WARN, f"not known: {why}", remedy, is_cause=False, may_follow=False)


def of_its_own(finding: Finding) -> Finding:
    """Return a finding that follows from no other."""
    return replace(finding, may_follow=False)


def as_remedy(*advice: str) -> str:
    """Write sentences as a remedy, in the form that stands behind an arrow."""
    text = " ".join(advice)
    return text[:1].lower() + text[1:].removesuffix(".")


def worst(findings: Iterable[Finding]) -> Verdict:
    """Return FAIL, WARN or OK, the verdict on the report as a whole. SKIP does not count."""
    verdicts = {finding.verdict for finding in findings}
    return next((verdict for verdict in (Verdict.FAIL, Verdict.WARN) if verdict in verdicts), Verdict.OK)


EXIT_STATUS = {Verdict.OK: 0, Verdict.WARN: 1, Verdict.FAIL: 2}
