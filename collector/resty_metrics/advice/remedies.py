"""Remedies by reason."""

_SOURCES = {
    "refused": "See that nginx runs and listens there, or correct the address of the source.",
    "resolve": "Correct the host name in the address of the source, or mend the name server.",
    "timeout": "See whether nginx is overloaded, or raise the source's timeout (--source.timeout).",
    "tls": "See that the certificate is valid and that ca_file and server_name of the source suit it.",
    "status": "Correct the address, or allow this machine in nginx: that location answers with another status.",
    "parse": "Correct the address: it leads to another page than it should.",
    "credentials": "See that the files of certificate, password or token of the source can be read.",
    "too_large": "Correct the address: what comes from there is larger than a document of nginx.",
    "internal": "This is a bug of the collector: please report it, with what its log says.",
}
_REFUSALS = {
    "uid": "Allow the user of nginx's workers with --socket.allow-uid. They hold what they have until then.",
    "version": "Bring the Lua module and the collector to one release. Workers hold what they have until then.",
    "sender_cap": "4,096 workers are alive, as many as one collector takes. Run a second collector for some of them.",
    "instance_cap": "Give the workers of one nginx one name: a collector takes heartbeats of 64 names at most.",
    "not_ready": "The collector was beginning or ending: workers held what they had.",
}
_GAUGE_ROWS = {
    "worker_cap": "Have fewer gauges, or labels with fewer values: a worker has 1,000 gauges of "
    "10,000 rows and 8 MiB at most.",
    "total_cap": "Have fewer gauges, or labels with fewer values: all workers together have 20,000 gauges of "
    "200,000 rows and 64 MiB at most.",
    "duplicate": "Find the sender that is no worker of ours: it sends a label set twice in one heartbeat.",
}
_JOURNAL = {
    "full": "Make room on the disk of that directory.",
    "read_only": "Mount the disk of that directory so that it can be written.",
    "io": "See that the disk works, and that the directory is a directory and the collector's user may write it.",
    "busy": "End what keeps the journal's files open, such as a backup or an sqlite3.",
    "foreign": "Give the collector a directory of its own (--state.dir): what is in this one is not its journal.",
    "locked": "See that the path is a directory, and that no other collector has it.",
    "removed": "Put the directory back, owned by the collector's user.",
}


def of_source(reason: str) -> str:
    """Return the remedy for a source that cannot be read."""
    return _SOURCES.get(reason, "See the collector's log, and that nginx answers at that address.")


def of_refusal(reason: str) -> str:
    """Return the remedy for datagrams that are not accepted."""
    return _REFUSALS.get(reason, "See the collector's log: it has one line for each reason, with what helps.")


def of_gauge_rows(reason: str) -> str:
    """Return what to do about rows of gauges that found no room."""
    return _GAUGE_ROWS.get(reason, "See the collector's log.")


def of_journal(reason: str) -> str:
    """Return the remedy for a journal that cannot be written."""
    return _JOURNAL.get(reason, "See the collector's log for what is wrong with that directory.")
