"""Masters of nginx that ended."""

import os
import subprocess

from resty_metrics.kernel.processes import started
from resty_metrics.observer.masters import Masters
from resty_metrics.wire.heartbeat import Master


def test_a_master_that_was_seen_and_ended_is_gone() -> None:
    with subprocess.Popen(["sleep", "infinity"]) as process:
        master = Master(process.pid, started(process.pid))
        masters = Masters(started)
        masters.keep({master})
        assert not masters.is_gone(master)
        process.kill()
    assert masters.is_gone(master)
    masters.keep(set())
    assert not masters.is_gone(master), "it is forgotten"


def test_a_master_that_was_never_seen_is_not_gone() -> None:
    """It is in another container: its pid is not there, or is that of another process."""
    masters = Masters(started)
    unseen = {Master(2**40, 5), Master(os.getpid(), 5), Master(None, 5), Master(os.getpid(), None)}
    masters.keep(unseen)
    assert not any(map(masters.is_gone, unseen))
