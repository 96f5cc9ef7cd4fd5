"""The configuration in force as a file of it: every key, and of secrets the files that hold them."""

from pathlib import Path
from typing import Any

import yaml

from resty_metrics.config.settings import Settings
from resty_metrics.config.values import NO_STATE_DIR, ListenAddress, UnixAddress
from resty_metrics.sources.source import Source

Tree = dict[str, Any]


def as_yaml(settings: Settings) -> str:
    """YAML that reads back as the same settings."""
    tree: Tree = {
        "socket": {
            "path": str(settings.socket_path),
            "mode": f"{settings.socket_mode:04o}",
            "allow_uid": list(settings.socket_allow_uid),
        },
        "state": {"dir": NO_STATE_DIR if settings.state_dir is None else str(settings.state_dir)},
        "web": _known(
            listen_address=[_address(one) for one in settings.web_listen_address],
            telemetry_path=settings.web_telemetry_path,
            config_file=settings.web_config_file,
            enable_lifecycle=settings.web_enable_lifecycle,
            max_connections=settings.web_max_connections,
            max_requests=settings.web_max_requests,
        ),
        "log": {"level": settings.log_level, "format": settings.log_format},
        "sources": [_source(one) for one in settings.sources],
    }
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=1000)


def _known(**values: Any) -> Tree:
    """Without what is not set."""
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in values.items()
        if value not in (None, {})
    }


def _address(address: ListenAddress) -> str:
    if isinstance(address, UnixAddress):
        return f"unix:{address.path}"
    host = address.host or ""
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def _source(source: Source) -> Tree:
    way = source.connection
    tls, basic, bearer = way.tls, way.basic_auth, way.authorization
    return _known(
        kind=source.kind,
        name=source.name,
        url=source.address,
        timeout=f"{way.timeout:g}s",
        host=way.host,
        derived=source.derived if source.kind == "vts" else None,
        tls_config=_known(
            ca_file=tls.ca_file,
            cert_file=tls.cert_file,
            key_file=tls.key_file,
            server_name=tls.server_name,
            insecure_skip_verify=tls.insecure_skip_verify or None,
        ),
        basic_auth=basic and _known(username=basic.username, password_file=basic.password_file),
        authorization=bearer and _known(type=bearer.type, credentials_file=bearer.credentials_file),
    )
