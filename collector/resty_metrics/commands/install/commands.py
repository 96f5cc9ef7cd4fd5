"""The commands ``install`` and ``uninstall`` and their flags. Nothing heavy is imported before they run."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from resty_metrics.commands.help import Described
from resty_metrics.commands.options import NGINX_COMMAND, options_of

SHARE = "/usr/share/resty-metrics"


def _share(_: click.Context, __: click.Parameter, value: str) -> Path:
    from resty_metrics.commands.install.plan import PLAIN_PATH

    path = Path(value)
    if not PLAIN_PATH.fullmatch(value) or ".." in path.parts or path == Path("/"):
        raise click.BadParameter(f"{value!r}: give an absolute path of letters, digits and . / _ + @ , -")
    return path


_SHARE = click.Option(
    ["--share-dir", "share"],
    default=SHARE,
    show_default=True,
    callback=_share,
    help="Directory for lua/ and nginx.conf.d/. nginx's workers must be able to read it.",
)
_FOUND_AT = click.Option(
    ["--share-dir", "share"],
    default=SHARE,
    show_default=True,
    callback=_share,
    help="Directory in which nginx will find the files.",
)
_YES = click.Option(["--yes", "-y"], is_flag=True, help="Do not ask for confirmation. Required without a terminal.")
_DRY_RUN = click.Option(["--dry-run"], is_flag=True, help="Show the changes, and make none.")
_UNPROVEN = click.Option(
    ["--without-proof"], is_flag=True, help="Keep the changes without sending a request as a test."
)
_OPTIONAL = [
    click.Option(
        ["--with-upstreams", "upstreams"],
        is_flag=True,
        help="Include upstreams.conf too: every attempt of an upstream.",
    ),
    click.Option(
        ["--with-stub-status", "stub_status"], is_flag=True, help="Include stub-status.conf too: 127.0.0.1:19146."
    ),
    click.Option(
        ["--with-vts", "vts"], is_flag=True, help="Include vts.conf too: 127.0.0.1:19147. Needs nginx's vts module."
    ),
]

ReadSettings = Callable[[dict[str, Any], str | None], Any]


def add_to(group: click.Group, read_settings: ReadSettings) -> None:
    """``read_settings``: reads the options that doctor has too, and ``--nginx.command``, into doctor's settings."""
    shared = [*options_of("install"), NGINX_COMMAND]
    install = Described(
        "install",
        first=("--dry-run", "--yes", "--nginx.command", "--share-dir", "--without-proof"),
        examples=(
            ("sudo resty-metrics install", "Show the changes, ask, make them, and test them."),
            ("sudo resty-metrics install --dry-run", "Make all checks and show the changes, but change nothing."),
            ("sudo resty-metrics install --yes", "Do not ask, for scripts."),
        ),
        statuses=(
            ("0", "It is installed, or was already."),
            ("1", "It is not installed, and nothing is changed; with --dry-run: it would fail."),
            ("2", "A flag is wrong."),
        ),
        params=[*shared, _SHARE, _YES, _DRY_RUN, _UNPROVEN, *_OPTIONAL],
        callback=partial(_install, read_settings),
        help="Add the Lua module to nginx, reload nginx, and test that a request is counted.\n\n"
        "Shows the changes first. If nginx rejects them, or the request is not counted, everything is restored. "
        "Running it again upgrades the files, or reports that nothing needs doing. Takes its settings from the running "
        "collector; flags override them.",
    )
    uninstall = Described(
        "uninstall",
        statuses=(("0", "Nothing of it is left."), ("1", "Nothing is changed."), ("2", "A flag is wrong.")),
        params=[*shared, _SHARE, _YES, _DRY_RUN],
        callback=partial(_uninstall, read_settings),
        help="Remove what install added to nginx, and reload nginx.",
    )
    export = Described(
        "export",
        examples=(("resty-metrics export ./files", "Write lua/, nginx.conf.d/, grafana/ and prometheus/ there."),),
        params=[click.Argument(["directory"], type=click.Path(path_type=Path)), _FOUND_AT],
        callback=_export,
        help="Copy the files for nginx, Grafana and Prometheus to DIRECTORY, and change nothing else.",
    )
    for command in (install, uninstall, export):
        group.add_command(command)


def _order(
    share: Path, yes: bool, dry_run: bool, without_proof: bool = False, optional: frozenset[str] = frozenset()
) -> Any:
    from resty_metrics.commands.install.flow import Order

    return Order(share, yes, dry_run, not without_proof, optional)


def _install(
    read_settings: ReadSettings,
    share: Path,
    yes: bool,
    dry_run: bool,
    without_proof: bool,
    upstreams: bool,
    stub_status: bool,
    vts: bool,
    nginx_command: str | None,
    **options: Any,
) -> None:
    settings = read_settings(options, nginx_command)
    from resty_metrics.commands.install import flow, optional

    flags = {optional.UPSTREAMS: upstreams, optional.STUB_STATUS: stub_status, optional.VTS: vts}
    order = _order(
        share, yes, dry_run, without_proof, frozenset(name for name, given_flag in flags.items() if given_flag)
    )
    sys.exit(flow.install(settings, order))


def _uninstall(
    read_settings: ReadSettings, share: Path, yes: bool, dry_run: bool, nginx_command: str | None, **options: Any
) -> None:
    settings = read_settings(options, nginx_command)
    from resty_metrics.commands.install import flow

    sys.exit(flow.uninstall(settings, _order(share, yes, dry_run)))


def _export(directory: Path, share: Path) -> None:
    from resty_metrics.commands.install.export import export
    from resty_metrics.commands.install.refused import RefusedError

    try:
        count = export(directory, share)
    except (RefusedError, OSError) as error:
        click.echo(f"not all files could be written: {error}", err=True)
        sys.exit(1)
    click.echo(f"wrote {count} files to {directory}")
