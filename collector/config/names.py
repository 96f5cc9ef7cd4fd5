"""One setting, its names: ``--socket.path``, ``socket_path``, ``RESTY_METRICS_SOCKET_PATH``."""

_PREFIX = "RESTY_METRICS_"

# Flags of all sources that flags give, and the key of the file that means the same of one source.
OF_SOURCES = {
    "--source.vts.derived": "derived",
    "--source.timeout": "timeout",
    "--source.host": "host",
    "--source.tls.ca-file": "tls_config.ca_file",
    "--source.tls.cert-file": "tls_config.cert_file",
    "--source.tls.key-file": "tls_config.key_file",
    "--source.tls.server-name": "tls_config.server_name",
    "--source.tls.insecure-skip-verify": "tls_config.insecure_skip_verify",
    "--source.basic-auth.username": "basic_auth.username",
    "--source.basic-auth.password-file": "basic_auth.password_file",
    "--source.bearer-token-file": "authorization.credentials_file",
}


def name(flag: str) -> str:
    """``--socket.path`` is ``socket_path``."""
    return flag.removeprefix("--").replace(".", "_").replace("-", "_")


def variable(flag: str) -> str:
    """``--socket.path`` is ``RESTY_METRICS_SOCKET_PATH``."""
    return _PREFIX + name(flag).upper()
