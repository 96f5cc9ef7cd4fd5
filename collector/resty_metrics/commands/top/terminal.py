"""The terminal: its keys one by one, its other screen, and its former state at the end, whatever ends us.

Rules:
- Keys are read if standard input is a terminal; otherwise the screen has no keys, and Ctrl-C ends it.
- Colours are used in a terminal, unless NO_COLOR is set; characters that the terminal cannot write become question
  marks.
"""

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console, Group
from rich.control import Control
from rich.screen import Screen
from rich.text import Text

from resty_metrics.commands.top import keys

_PIECE = 1024


def console() -> Console:
    """Return a console for standard output."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    return Console(highlight=False, markup=False, emoji=False)


class Terminal:
    """The terminal. ``on_keys`` is called with names of keys, ``on_size`` when the terminal's size changes.

    ``on_end`` is called when a signal or the end of the input asks us to end.
    """

    def __init__(self, on_keys: Callable[[str], None], on_size: Callable[[], None], on_end: Callable[[], None]) -> None:
        self._console = console()
        self._on_keys, self._on_size, self._on_end = on_keys, on_size, on_end
        self._input = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._before: list[int | list[bytes | int]] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Return columns and lines: those of the terminal, which change, whatever COLUMNS and LINES contain."""
        with contextlib.suppress(OSError):  # it is not a terminal, or was closed
            size = os.get_terminal_size(sys.stdout.fileno())
            if all(size):  # a serial line reports 0
                self._console.size = size
        return self._console.size

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Show the other screen until the block ends."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_end)
        loop.add_signal_handler(signal.SIGWINCH, self._on_size)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        if self._input is not None:
            loop.add_reader(self._input, self._typed)
        self._enter()
        try:
            yield
        finally:
            if self._input is not None:
                loop.remove_reader(self._input)
            self._leave()

    def show(self, lines: Sequence[Text]) -> None:
        """Draw the screen again."""
        with contextlib.suppress(OSError):  # the terminal was closed; SIGHUP follows
            self._console.print(Control.home(), Screen(Group(*lines)), sep="", end="")

    def _enter(self) -> None:
        if self._input is not None:
            self._before = termios.tcgetattr(self._input)
            tty.setcbreak(self._input)
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)

    def _leave(self) -> None:
        with contextlib.suppress(OSError):
            self._console.show_cursor(True)
            self._console.set_alt_screen(False)
        if self._input is not None and self._before is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

    def _suspend(self) -> None:
        """Handle Ctrl-Z: give the shell its screen back until it resumes us."""
        self._leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._enter()
        self._on_size()

    def _typed(self) -> None:
        assert self._input is not None
        try:
            typed = os.read(self._input, _PIECE)
        except OSError:
            typed = b""
        if not typed:
            self._on_end()
        for key in keys.read(typed.decode(errors="replace")):
            self._on_keys(key)
