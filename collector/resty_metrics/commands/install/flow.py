"""install and uninstall from beginning to end.

Exit status: 0 done, or nothing to do; 1 not done, and nothing is changed. A dry run has the status that the run would
have, as far as is known before any change.

Rules:
- Whatever can be known before any change is judged before it, by the same code in a dry run and in a run.
- Nothing is changed before it was shown and agreed to: on a terminal by an answer, elsewhere by --yes.
- From the first change on, any failure (an error, a signal, a closed terminal) restores everything; signals are
  ignored while that happens.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import click

from resty_metrics import __version__
from resty_metrics.commands.doctor.examination import find as find_collector
from resty_metrics.commands.doctor.report import printable
from resty_metrics.commands.doctor.settings import Settings
from resty_metrics.commands.install import nginx, obstacles, plan, privilege, prospect, removal, request, shown
from resty_metrics.commands.install.error_logs import ErrorLogs
from resty_metrics.commands.install.facts import Plan
from resty_metrics.commands.install.interruption import handlers_kept, interruptible
from resty_metrics.commands.install.nginx import Nginx
from resty_metrics.commands.install.prospect import Prospect
from resty_metrics.commands.install.refused import RefusedError
from resty_metrics.commands.install.transaction import Transaction

_DRY_RUN = "dry run: nothing was changed"


@dataclass(frozen=True, slots=True)
class Order:
    """The order for a run.

    ``prove``: the change is undone unless a request is seen to count; ``optional``: names of optional files.
    """

    share: Path
    yes: bool
    dry_run: bool
    prove: bool
    optional: frozenset[str] = frozenset()


def install(settings: Settings, order: Order) -> int:
    return _reporting(lambda: _install(settings, order), order)


def uninstall(settings: Settings, order: Order) -> int:
    return _reporting(lambda: _uninstall(settings, order), order)


def _reporting(work: Callable[[], None], order: Order) -> int:
    words = "this would fail:" if order.dry_run else "failed, nothing was changed:"
    try:
        work()
    except RefusedError as refused:
        _say(words, refused.reasons)
        return 1
    except OSError as error:
        _say(words, [str(error)])
        return 1
    return 0


def _say(words: str, reasons: Sequence[str] = ()) -> None:
    for line in shown.reasons(words, reasons):
        click.echo(line, err=True)


def _echo(line: str) -> None:
    """Print a line that may contain any name of a file or a server."""
    click.echo(printable(line))


def _install(settings: Settings, order: Order) -> None:
    settings, subject = find_collector(settings)
    if subject.choice is not None:
        raise RefusedError(subject.choice)
    target = nginx.find(settings.nginx_command, settings.socket_path)
    facts = nginx.observe(target, settings.socket_path, order.share)
    planned = plan.make(facts, order.optional)
    foreseen = None
    if order.prove:
        foreseen = prospect.look(settings, subject, target, facts, planned)
    else:
        planned = replace(planned, notes=(*planned.notes, *prospect.of_sending(subject, target, facts, planned)))
    if not planned.changes:
        _already(settings, order, planned, foreseen, target)
        return
    _tell(target, planned, order)
    reasons = [*privilege.lacking(planned.changes, target.master), *(() if foreseen is None else foreseen.reasons)]
    if foreseen is not None and not reasons:
        words = "then: nginx -t, a reload, and one request to {}. If it is not counted, everything is restored."
        _echo(words.format(foreseen.words))
    if _stops_here(order, reasons):
        return
    _ask(order)
    evidence = _change(settings, planned, target, foreseen)
    proven = "not tested" if evidence is None else f"counted: {evidence}"
    _done(f"installed: {__version__} in {order.share}", *shown.added(planned, str(order.share)), proven)


def _stops_here(order: Order, reasons: Sequence[str]) -> bool:
    """Return whether this is a dry run. Raises RefusedError if there are reasons against the change."""
    if order.dry_run:
        click.echo(_DRY_RUN)
    if reasons:
        raise RefusedError(*reasons)
    return order.dry_run


def _change(settings: Settings, planned: Plan, target: Nginx, foreseen: Prospect | None) -> str | None:
    """Make the changes, and return how they were seen to count; None without a proof."""
    with _all_or_nothing(target.master) as transaction:
        transaction.apply(planned.changes)
        logs = ErrorLogs(target)
        _load(target, transaction)
        return None if foreseen is None else request.prove(settings, foreseen.targets, logs)


def _done(*lines: str) -> None:
    """Report success. An error in printing, such as a closed pipe, does not undo anything."""
    with suppress(OSError):
        for line in lines:
            _echo(line)


def _already(settings: Settings, order: Order, planned: Plan, foreseen: Prospect | None, target: Nginx) -> None:
    """Report that nothing needs a change, and send a request all the same to see that it counts."""
    for line in shown.lines(planned, str(order.share)):
        _echo(line)
    _echo(f"already installed: {__version__} in {order.share}")
    if foreseen is None:
        return
    if not foreseen.reasons:
        _echo(f"then: one request to {foreseen.words}. If it is not counted, this fails.")
    if _stops_here(order, foreseen.reasons):
        return
    try:
        _echo(f"counted: {request.prove(settings, foreseen.targets, ErrorLogs(target))}")
    except RefusedError as refused:
        hint = "If nginx was not reloaded after the include was added, reload it: nginx -t && nginx -s reload"
        raise RefusedError(*refused.reasons, hint) from None


def _tell(target: Nginx, planned: Plan, order: Order) -> None:
    users = ", ".join(user.label for user in target.users)
    _echo(
        f"{target.label}: {target.configuration.main_file}, prefix {target.configured.prefix}, workers run as {users}"
    )
    for line in shown.lines(planned, str(order.share)):
        _echo(line)


def _ask(order: Order) -> None:
    if order.yes:
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise RefusedError("there is no terminal to ask on. Give --yes to confirm the changes")
    if not click.confirm("Make these changes?"):
        raise RefusedError("the answer was no")


def _uninstall(settings: Settings, order: Order) -> None:
    target = nginx.find(settings.nginx_command, settings.socket_path)
    facts = nginx.observe(target, settings.socket_path, order.share)
    added = removal.entry(facts)
    planned = removal.make(facts, None if added is None else facts.snippets.get(added.path))
    if not planned.changes:
        elsewhere = obstacles.included_from(facts.configuration)
        if elsewhere not in (None, str(order.share)):
            raise RefusedError(
                f"{facts.configuration.main_file} includes files of {elsewhere}. To remove these, give "
                f"--share-dir={elsewhere}"
            )
        for line in shown.lines(planned, str(order.share)):
            _echo(line)
        _echo(f"nothing to remove: install has changed nothing in {facts.configuration.main_file}")
        return
    _tell(target, planned, order)
    click.echo("then: nginx -t, and a reload. If nginx rejects the change, everything is restored.")
    if _stops_here(order, privilege.lacking(planned.changes, target.master)):
        return
    _ask(order)
    with _all_or_nothing(target.master) as transaction:
        transaction.apply(planned.configuration)
        _load(target, transaction)
        transaction.apply(planned.files)
        nginx.test(target)
    if not any(change.after is not None for change in planned.files):
        transaction.remove_empty(order.share, () if facts.manifest is None else facts.manifest.directories)
    reloaded = "" if target.master is None else ", and nginx was reloaded"
    _done(f"uninstalled; nginx -t passes{reloaded}", *shown.removed(planned, str(order.share)))


def _load(target: Nginx, transaction: Transaction) -> None:
    """Test the configuration with nginx -t, and have nginx read it if it runs."""
    nginx.test(target)
    if target.master is not None:
        transaction.loaded = True
        nginx.reload(target.master)


@contextmanager
def _all_or_nothing(master: int | None) -> Iterator[Transaction]:
    """Yield a transaction.

    On any exception everything is restored, with a reload where nginx may have read the changes.
    """
    transaction = Transaction()
    with handlers_kept():
        try:
            with interruptible():
                yield transaction
        except BaseException as error:
            reasons = [*_words(error), *_restore(transaction, master)]
            with suppress(OSError):  # the reader of stderr may have gone
                _say("failed, everything was restored:", reasons)
            raise SystemExit(1) from None


def _restore(transaction: Transaction, master: int | None) -> list[str]:
    """Restore everything, and return the errors in doing so; normally there are none."""
    errors = transaction.roll_back()
    if transaction.loaded and master is not None:
        try:
            nginx.reload(master)
        except RefusedError as refused:
            errors += refused.reasons
    return errors


def _words(error: BaseException) -> tuple[str, ...]:
    if isinstance(error, RefusedError):
        return error.reasons
    return (str(error) or type(error).__name__,)
