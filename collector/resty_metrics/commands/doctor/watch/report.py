"""A sighting or a notice as a line of text or of JSON. Pure.

Rules:
- A report is one line. Strangers choose names, arguments and paths: unprintable characters are escaped.
- An unknown fact is reported as not known, or null; nothing is guessed.
"""

import json
import shlex
from dataclasses import asdict, dataclass
from typing import Any, Literal

from resty_metrics.kernel.access import owner_label, user_label
from resty_metrics.kernel.procfs import Process

OURS = "resty-metrics"

NoticeKind = Literal["watching", "refused", "lost", "unsaid"]


@dataclass(frozen=True, slots=True)
class State:
    """The present state of a path: type and mode as ``ls -l`` shows them, and the owner.

    ``owner``: names of user and group, as in ``root:adm``, None if they are not known.
    """

    mode: str
    uid: int
    gid: int
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """The process that acted. ``pid`` 0: even its number is hidden from us; ``process`` None: it had ended.

    ``before`` is the program that this process ran before; ``collector``: the one that holds the lock;
    ``same_mounts``: whether it sees the collector's files, None if that is not known; ``user``: the name of its user.
    """

    pid: int
    process: Process | None
    before: Process | None
    collector: bool
    same_mounts: bool | None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """An act that was seen.

    ``path``: a file's, None where a command of ours was executed or ended; ``at``: in ISO 8601.
    """

    at: str
    actions: tuple[str, ...]
    path: str | None
    state: State | None
    status: int | None
    actor: Actor | None


@dataclass(frozen=True, slots=True)
class Notice:
    """About the watch itself."""

    at: str
    kind: NoticeKind
    text: str
    capability: str | None = None


def to_text(report: Sighting | Notice) -> str:
    """Write ``TIME PATH: ACTIONS by WHO``."""
    if isinstance(report, Notice):
        return _printable(f"{report.at} {report.kind}: {report.text}")
    actions = " and ".join(action.replace("_", " ") for action in report.actions)
    state = f" (now {report.state.mode} {_owner(report.state)})" if report.state else ""
    status = f" ({_ending(report.status)})" if report.status is not None else ""
    actor = f" by {_actor(report.actor)}" if report.actor else ""
    return _printable(f"{report.at} {report.path or OURS}: {actions}{state}{status}{actor}")


def to_json(report: Sighting | Notice) -> str:
    """Write a line as one JSON object.

    A notice: ``time``, ``notice`` (its kind), ``text``, ``capability``. A sighting: ``time``, ``actions``, ``path``
    (null for a command of ours), ``state`` (``mode``, ``uid``, ``gid``: what is there now), ``status`` (of a command
    that ended, as wait(2) has it), ``by``: null, or ``pid``, ``collector``, ``before``, ``same_mount_namespace``, and
    of a process that is known the fields of ``Process``.
    """
    fields: dict[str, Any] = {"time": report.at}
    if isinstance(report, Notice):
        fields |= {"notice": report.kind, "text": report.text, "capability": report.capability}
    else:
        fields |= {"actions": report.actions, "path": report.path}
        fields["state"] = _state_fields(report.state) if report.state else None
        fields["status"] = report.status
        fields["by"] = _actor_fields(report.actor) if report.actor else None
    return json.dumps(fields)


def _actor(actor: Actor) -> str:
    if actor.pid == 0:
        return "a process that is outside of this pid namespace"
    if actor.collector:
        return f"the collector itself (pid {actor.pid})"
    if actor.process is None:
        return f"pid {actor.pid}, which ended before it could be looked at"
    return ", ".join(
        [f"pid {actor.pid}", user_label(actor.process.uid, actor.user), _program(actor.process), *_circumstances(actor)]
    )


def _owner(state: State) -> str:
    return owner_label(state.uid, state.gid, state.owner)


def _state_fields(state: State) -> dict[str, Any]:
    return {"mode": state.mode, "uid": state.uid, "gid": state.gid}


def _circumstances(actor: Actor) -> list[str]:
    assert actor.process is not None
    circumstances = [f"before that {_program(actor.before)}"] if actor.before else []
    if actor.process.parents:
        circumstances.append("below " + " < ".join(f"{parent.name} {parent.pid}" for parent in actor.process.parents))
    if actor.process.container:
        circumstances.append(f"container {actor.process.container}")
    elif actor.process.cgroup and actor.process.cgroup != "/":
        circumstances.append(f"cgroup {actor.process.cgroup}")
    mounts = {True: "in the collector's mount namespace", False: "in another mount namespace than the collector"}
    return circumstances if actor.same_mounts is None else [*circumstances, mounts[actor.same_mounts]]


def _program(process: Process) -> str:
    exe = process.exe or "a program that could not be seen"
    return f"{exe} [{shlex.join(process.command)}]"


def _actor_fields(actor: Actor) -> dict[str, Any]:
    known: dict[str, Any] = asdict(actor.process) if actor.process else {}
    before = {"exe": actor.before.exe, "command": actor.before.command} if actor.before else None
    return {
        **known,
        "pid": actor.pid,
        "before": before,
        "collector": actor.collector,
        "same_mount_namespace": actor.same_mounts,
    }


def _ending(status: int) -> str:
    return f"signal {status & 0x7F}" if status & 0x7F else f"status {status >> 8 & 0xFF}"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
