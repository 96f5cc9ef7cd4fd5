"""Load from wrk, bounded, on loopback."""

import signal
import subprocess


class Load:
    """wrk in the background; leave the block, or ``wait``, and it has ended."""

    def __init__(
        self, url: str, seconds: float, connections: int = 16, script: str | None = None, under: tuple[str, ...] = ()
    ) -> None:
        words = [*under, "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", url]
        if script is not None:
            words[-1:-1] = ["-s", script]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._patience = seconds + 30

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> str:
        """End it now; what it had asked for has been answered, or its connection closed."""
        if self.running():
            self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> str:
        output, _ = self._process.communicate(timeout=self._patience)
        return output
