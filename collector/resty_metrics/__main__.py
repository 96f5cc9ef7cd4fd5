"""The program: the command ``resty-metrics``, and ``python -m resty_metrics``.

Rules:
- ``-V`` alone is answered before anything is imported: scanners run it on every program that they find.
- Before any file is opened, descriptors 0 to 2 are open: else one of our files would be stderr.
- Before anything that takes a while to import, SIGTERM has its handler, and so has SIGHUP where it asks a collector to
  read its configuration again. Any other command ends at SIGHUP: its terminal has gone.
"""

import os
import sys

from resty_metrics import __version__

_TERMINATED = 128 + 15  # what a shell makes of a process that SIGTERM ended


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] in (["-V"], ["--version"]):
        sys.exit(_tell_version())
    _prepare()
    from resty_metrics.commands.cli import main as command

    command()


def _tell_version() -> int:
    try:
        os.write(1, f"resty-metrics {__version__}\n".encode())
    except OSError:
        return 1
    return 0


def _prepare() -> None:
    from resty_metrics.process import hangup
    from resty_metrics.process.ending import end_on_sigterm
    from resty_metrics.process.standard_streams import open_missing

    if sys.argv[1:2] == ["serve"]:
        hangup.remember()
    open_missing()
    end_on_sigterm(_TERMINATED)


if __name__ == "__main__":
    main()
