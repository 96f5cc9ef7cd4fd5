"""Remedies by reason, as sentences."""

import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from resty_metrics.health import troubles as kinds
from resty_metrics.health.facts import RefusedFile
from resty_metrics.health.troubles import Kind
from resty_metrics.kernel.access import user_label

_SOURCES = {
    "refused": "Start nginx, or correct the address of the source: nothing listens there.",
    "resolve": "Correct the host name in the address of the source, or repair the name server.",
    "timeout": "Check whether nginx is overloaded, or raise --source.timeout.",
    "tls": "Check that the certificate is valid and matches ca_file and server_name of the source.",
    "status": "Correct the address of the source, or allow this machine in that location of nginx.",
    "parse": "Correct the address of the source: it leads to another page.",
    "credentials": "Check that the collector's user can read the certificate, password or token file of the source.",
    "too_large": "Correct the address of the source: that document is larger than any of nginx.",
    "internal": "Report this bug of the collector, with the lines of its log.",
}
_REFUSALS = {
    "uid": "If {user} runs nginx's workers, {allow}. Workers keep their counts until then. "
    "If not, find the program that sends, and stop it.",
    "version": "Install the same release of the Lua module and the collector. Workers keep their counts until then.",
    "sender_cap": "4,096 workers are alive, the limit of a collector. Run a second collector for some of them.",
    "instance_cap": "Give all workers of one nginx the same name. A collector shows the heartbeats of 64 names.",
    "not_ready": "Wait: the collector was starting or stopping, and workers keep their counts.",
}
_GAUGE_ROWS = {
    "worker_cap": "Use fewer gauges, or labels with fewer values. A worker may have 1,000 gauges of 10,000 rows and "
    "8 MiB.",
    "total_cap": "Use fewer gauges, or labels with fewer values. All workers together may have 20,000 gauges of "
    "200,000 rows and 64 MiB.",
    "duplicate": "Find the program that sends a label set twice in one heartbeat: the Lua module never does.",
}
_JOURNAL = {
    "full": "Free some space on the disk of that directory.",
    "read_only": "Mount the disk of that directory read-write.",
    "io": "Check the disk, and that the collector's user can write that directory.",
    "busy": "Stop the program that keeps the journal's files open, such as a backup or sqlite3.",
    "foreign": "Set --state.dir to an empty directory: the files in this one are not the collector's journal.",
    "locked": "Check that the path is a directory, and that no other collector uses it.",
    "removed": "Create the directory again, owned by the collector's user.",
}
_INVALID = (
    "Install the same release of the Lua module and the collector, and check that no other program writes to the "
    "socket: the collector's log names each invalid batch."
)
_LOSSES = {
    **dict.fromkeys(("dropped", "invalid", "undecodable"), _INVALID),
    "spool_full": "Keep the collector running while nginx reloads or ends, or enlarge lua_shared_dict "
    "resty_metrics_spool.",
    "family_cap": "Use fewer metrics of your own, or give them fewer labels (docs/labels.md).",
    "instance_cap": "Give all workers of one nginx the same name: a collector counts for 64 names.",
    "type": "Give the metric whose type you changed another name.",
    "internal": "Report this bug of the collector, with the lines of its log.",
    "journal": "See the lines of the collector's log from its start: they name the files that it could not read.",
}
_LOG = "See nginx's error log and the collector's log: the side that lost rows gives the reason."
_MOST_UIDS = 5


def of_source(reason: str) -> str:
    """Return the remedy for a source that cannot be read."""
    return _SOURCES.get(reason, "See the collector's log, and check that nginx answers at that address.")


def of_refusal(reason: str, uids: Sequence[int] = (), names: Mapping[int, str] = MappingProxyType({})) -> str:
    """Return the remedy for datagrams that are refused.

    ``uids``: the users whose datagrams are refused; ``names``: theirs, as far as they are known.
    """
    user = " or ".join(user_label(uid, names.get(uid)) for uid in uids[:_MOST_UIDS]) or "the refused user"
    text = _REFUSALS.get(reason, "See the collector's log: it explains each reason once.")
    return text.format(user=user, allow=allow(uids[:_MOST_UIDS]))


def allow(uids: Sequence[int]) -> str:
    """Return how users are allowed to send: by the file, without a restart, or by flags."""
    listed = ", ".join(map(str, uids)) or "it"
    flags = " ".join(f"--socket.allow-uid={uid}" for uid in uids) or "--socket.allow-uid"
    return (
        f"add {listed} to socket.allow_uid in the collector's configuration file and reload it (SIGHUP); or restart "
        f"the collector with {flags}, which replaces the list of the file"
    )


def of_file(file: RefusedFile, pid: int | None) -> str:
    """Return the remedy for a configuration file that was refused. ``pid``: the collector's, as it sees itself."""
    reload = "reload the collector" if pid is None else f"reload it: kill -HUP {pid}"
    if not file.path:
        return f"Correct what the collector's log names, and {reload}."
    path, check = shlex.quote(file.path), check_command(file)
    if file.watched:
        return f"Correct {path}, and check it: {check}. The collector reads it again by itself."
    return f"Correct {path}, check it ({check}), and {reload}."


def check_command(file: RefusedFile) -> str:
    """Return the command that checks a configuration file, to be copied."""
    return f"resty-metrics check-config {'--web.config.file=' if file.web else ''}{shlex.quote(file.path)}"


def check_commands(files: Iterable[RefusedFile]) -> str | None:
    """Return the commands that check these files, in one line; None if no file is to blame."""
    return "; ".join(dict.fromkeys(check_command(file) for file in files if file.path)) or None


def of_gauge_rows(reason: str) -> str:
    """Return the remedy for rows of gauges that do not fit."""
    return _GAUGE_ROWS.get(reason, "See the collector's log.")


def of_journal(reason: str) -> str:
    """Return the remedy for a journal that cannot be written."""
    return _JOURNAL.get(reason, "See the collector's log for the fault of that directory.")


def of_loss(reason: str) -> str:
    """Return the remedy for rows that were lost, in the collector or in workers."""
    return _LOSSES.get(reason, _LOG)


_BY_REASON: Mapping[Kind, Callable[[str], str]] = {
    kinds.REFUSALS: of_refusal,
    kinds.ROWS_LOST: of_loss,
    kinds.GAUGES_CUT: of_gauge_rows,
    kinds.JOURNAL_DOWN: of_journal,
}


def of(kind: Kind, reasons: Collection[str]) -> str:
    """Return the remedy of a trouble, by its reasons where it depends on them."""
    texts = map(_BY_REASON[kind], reasons) if kind in _BY_REASON else ()
    return " ".join(dict.fromkeys(texts)) or kind.remedy
