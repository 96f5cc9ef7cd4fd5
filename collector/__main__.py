"""The program: the command ``resty-metrics``, and ``python -m collector``.

Rule: before anything that takes a while to import, SIGTERM has its handler.
"""

from collector.ending import end_when_told

_TERMINATED = 128 + 15  # what a shell makes of a process that SIGTERM ended


def main() -> None:
    """Run the command line."""
    end_when_told(_TERMINATED)
    from collector.cli import main as command

    command()


if __name__ == "__main__":
    main()
