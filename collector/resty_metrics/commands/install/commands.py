"""The commands ``install`` and ``uninstall`` and their flags. Nothing heavy is imported before they run."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from resty_metrics.commands.options import NGINX_COMMAND, options_of

SHARE = "/usr/share/resty-metrics"


def _share(_: click.Context, __: click.Parameter, value: str) -> Path:
    from resty_metrics.commands.install.plan import PLAIN_PATH

    path = Path(value)
    if not PLAIN_PATH.fullmatch(value) or ".." in path.parts or path == Path("/"):
        raise click.BadParameter(f"{value!r}: give an absolute path of letters, digits and any of . / _ + @ , -")
    return path


_SHARE = click.Option(
    ["--share-dir", "share"],
    default=SHARE,
    show_default=True,
    callback=_share,
    help="Where lua/ and nginx.conf.d/ go; nginx's workers must be able to read it.",
)
_FOUND_AT = click.Option(
    ["--share-dir", "share"], default=SHARE, show_default=True, callback=_share, help="Where nginx will find them."
)
_YES = click.Option(["--yes", "-y"], is_flag=True, help="Do not ask. Needed where there is no terminal.")
_DRY_RUN = click.Option(["--dry-run"], is_flag=True, help="Show what would be changed, and change nothing.")
_UNPROVEN = click.Option(
    ["--without-proof"], is_flag=True, help="Leave it installed without a request that was seen to count."
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

Told = Callable[[dict[str, Any], str | None], Any]


def add_to(group: click.Group, told: Told) -> None:
    """``told``: reads the options that doctor has too, and ``--nginx.command``, into doctor's settings."""
    shared = [*options_of("install"), NGINX_COMMAND]
    install = click.Command(
        "install",
        params=[*shared, _SHARE, _YES, _DRY_RUN, _UNPROVEN, *_OPTIONAL],
        callback=partial(_install, told),
        help="Put our files and one include into nginx, reload it, and see that a request is counted.\n\n"
        "What it would change is shown first. If nginx does not take it, or nothing is counted, all is put back. "
        "What is not given is taken from the collector that runs. Exit status: 0 done, or already so; 1 not done, "
        "or would not be (--dry-run).",
    )
    uninstall = click.Command(
        "uninstall",
        params=[*shared, _SHARE, _YES, _DRY_RUN],
        callback=partial(_uninstall, told),
        help="Remove what install put there, and reload nginx.",
    )
    export = click.Command(
        "export",
        params=[click.Argument(["directory"], type=click.Path(path_type=Path)), _FOUND_AT],
        callback=_export,
        help="Copy the files for nginx, Grafana and Prometheus into DIRECTORY, and touch nothing else.",
    )
    for one in (install, uninstall, export):
        group.add_command(one)


def _order(
    share: Path, yes: bool, dry_run: bool, without_proof: bool = False, asked: frozenset[str] = frozenset()
) -> Any:
    from resty_metrics.commands.install.flow import Order

    return Order(share, yes, dry_run, not without_proof, asked)


def _install(
    told: Told,
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
    settings = told(options, nginx_command)
    from resty_metrics.commands.install import flow, optional

    asked = {optional.UPSTREAMS: upstreams, optional.STUB_STATUS: stub_status, optional.VTS: vts}
    order = _order(share, yes, dry_run, without_proof, frozenset(name for name, wanted in asked.items() if wanted))
    sys.exit(flow.install(settings, order))


def _uninstall(told: Told, share: Path, yes: bool, dry_run: bool, nginx_command: str | None, **options: Any) -> None:
    settings = told(options, nginx_command)
    from resty_metrics.commands.install import flow

    sys.exit(flow.uninstall(settings, _order(share, yes, dry_run)))


def _export(directory: Path, share: Path) -> None:
    from resty_metrics.commands.install.export import export
    from resty_metrics.commands.install.refused import RefusedError

    try:
        count = export(directory, share)
    except (RefusedError, OSError) as error:
        click.echo(f"not everything was written: {error}", err=True)
        sys.exit(1)
    click.echo(f"{count} files are in {directory}")
