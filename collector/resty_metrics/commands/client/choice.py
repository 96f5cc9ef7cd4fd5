"""The choice of the page that a command reads: that of a URL, or of the collector on this machine.

Rules:
- Without a URL, the page is that of the collector on this machine, which ``doctor`` finds by the lock beside the
  socket.
- No secret is sent to a page that another user's process names: any user may hold a lock in a directory of their own.
"""

import contextlib
import shlex
from dataclasses import replace
from pathlib import Path

from resty_metrics.commands.client import endpoint as endpoints
from resty_metrics.commands.client.endpoint import Access, Endpoint
from resty_metrics.config.load import Inputs
from resty_metrics.config.problem import ConfigError


def choose(url: Endpoint | None, access: Access, inputs: Inputs) -> Endpoint:
    """Return the page to read. ``inputs``: those of a collector's settings.

    Raises ConfigError, and ValueError where options do not fit together.
    """
    endpoint = url or _local_page(inputs, access)
    return replace(endpoint, connection=endpoints.connection(endpoint.url, access))


def _local_page(inputs: Inputs, access: Access) -> Endpoint:
    """Return the page of a collector on this machine. Raises ConfigError, and ValueError where none can be chosen."""
    from resty_metrics.commands.doctor.settings import own_settings

    local, subject = own_settings(inputs, None), None
    if "web_listen_address" not in local.explicit:
        from resty_metrics.commands.doctor.examination import find

        with contextlib.suppress(OSError):  # settings that cannot be read keep their defaults
            local, subject = find(local)
    if subject is not None and subject.choice is not None:
        raise ValueError(f"{subject.choice}; or give --url")
    tls = local.web_config_file is not None and _has_tls(local.web_config_file)
    endpoint = endpoints.listening(local.web_listen_address[0], local.web_telemetry_path, tls)
    if any(access[key] for key in endpoints.SECRETS) and subject is not None and not subject.confides:
        raise ValueError(
            f"the collector, process {subject.pid}, belongs to another user or a container, so no password or token is "
            f"sent to the page that it names. If that page is right, give --url={shlex.quote(endpoint.shown)}"
        )
    return replace(endpoint, socket_path=str(local.socket_path))


def _has_tls(path: Path) -> bool:
    """Return whether a web configuration has TLS.

    Yes is likely for a file that this user cannot read, so that is the answer.
    """
    from resty_metrics.kernel import paths as files
    from resty_metrics.web import config

    text = files.read(path)  # another user may have named the path: files.read never opens a pipe
    try:
        return text is None or config.read(text, path)[0].tls_server_config is not None
    except ConfigError:
        return True
