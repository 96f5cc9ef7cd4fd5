"""The findings as text for people and as JSON for programs.

Rules:
- A line of text has a verdict, a check and the evidence; the remedy is on the next line, behind an arrow.
- The evidence may contain any name of a process or a file: only printable characters reach the terminal. A password in
  a URL is left out: people paste reports into issues.
- The keys of the JSON are an interface, described in ``docs/doctor.md``; ``schema`` changes when one of them does.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from resty_metrics import __version__
from resty_metrics.commands.doctor.facts import Subject
from resty_metrics.commands.doctor.finding import EXIT_STATUS, Finding, Verdict, worst

SCHEMA = 1
_BYTE = re.compile("[\udc80-\udcff]")
_FIRST_BYTE = 0xDC00
_PASSWORD = re.compile(r"(://)[^/@\s]+@")
_COLOURS = {Verdict.OK: "32", Verdict.SKIP: "90", Verdict.WARN: "33", Verdict.FAIL: "31;1"}


def printable(text: str) -> str:
    """Return ``text`` without characters that move a terminal's cursor: line ends become blanks, others are escaped."""
    shown = _decoded(text).replace("\n", " ").replace("\t", " ")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in shown
    )


def _decoded(text: str) -> str:
    """Return ``text`` with ``\\xff`` for each byte that is not UTF-8, and is a surrogate here."""
    return _BYTE.sub(lambda match: f"\\x{ord(match[0]) - _FIRST_BYTE:02x}", text)


def _discreet(finding: Finding) -> Finding:
    """Replace passwords in a finding."""
    remedy = None if finding.remedy is None else _PASSWORD.sub(r"\1***@", finding.remedy)
    return replace(finding, evidence=_PASSWORD.sub(r"\1***@", finding.evidence), remedy=remedy)


def _verdict(verdict: Verdict, colour: bool) -> str:
    word = f"{verdict:<4}"
    return f"\x1b[{_COLOURS[verdict]}m{word}\x1b[0m" if colour else word


def _lines(finding: Finding, width: int, colour: bool) -> list[str]:
    lines = [f"{_verdict(finding.verdict, colour)}  {finding.check:<{width}}  {printable(finding.evidence)}"]
    if finding.remedy is not None:
        lines.append(f"{'':4}  {'':{width}}  -> {printable(finding.remedy)}")
    return lines


def _summary(findings: Sequence[Finding]) -> str:
    counts = [(sum(finding.verdict is verdict for finding in findings), verdict) for verdict in Verdict]
    return ", ".join(f"{count} {verdict}" for count, verdict in counts if count)


def as_text(findings: Sequence[Finding], *, colour: bool, summary: bool = True) -> str:
    """Write all findings. ``summary``: with a last line that counts them."""
    width = max((len(finding.check) for finding in findings), default=0)
    lines = [line for finding in findings for line in _lines(_discreet(finding), width, colour)]
    lines += ["", _summary(findings)] if summary else []
    return "".join(f"{line}\n" for line in lines)


def as_json(findings: Sequence[Finding], subject: Subject) -> str:
    """Write one object: the subject, the worst verdict, all findings."""
    verdict = worst(findings)
    applied_flags = {
        flag: [_PASSWORD.sub(r"\1***@", value) for value in values] for flag, values in subject.applied_flags.items()
    }
    value = {
        "schema": SCHEMA,
        "version": __version__,
        "socket": subject.socket_path,
        "collector": {"pid": subject.pid, "settings": applied_flags},
        "verdict": verdict,
        "status": EXIT_STATUS[verdict],
        "findings": [_fields(_discreet(finding)) for finding in findings],
    }
    return json.dumps(value, indent=2) + "\n"


def _fields(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "verdict": finding.verdict,
        "seen": finding.evidence,
        "remedy": finding.remedy,
        "trouble": finding.trouble,
    }
