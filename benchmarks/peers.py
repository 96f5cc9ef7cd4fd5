"""The peers: other software for the same job, measured beside ours if an environment variable names its folder.

None of their code is in this project. Each peer is used as its own documentation says, from the user's folder.

    RESTY_METRICS_BENCH_VTS                   ngx_http_vhost_traffic_status_module.so, built for the nginx that runs;
                                              measured as its documentation begins, and with the counts that we have
    RESTY_METRICS_BENCH_NGINX_LUA_PROMETHEUS  prometheus.lua and its neighbours
    RESTY_METRICS_BENCH_INGRESS_NGINX         monitor.lua (rootfs/etc/nginx/lua of ingress-nginx); needs lua-cjson
"""

import os
import shutil
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

VTS, VTS_SAME = "vts", "vts, the same counts"
FOLDERS = {
    VTS: "RESTY_METRICS_BENCH_VTS",
    "nginx-lua-prometheus": "RESTY_METRICS_BENCH_NGINX_LUA_PROMETHEUS",
    "ingress-nginx": "RESTY_METRICS_BENCH_INGRESS_NGINX",
}
VTS_MODULE = "ngx_http_vhost_traffic_status_module.so"
VTS_ZONE = "vhost_traffic_status_zone;"
# By server, method and status, with our buckets. It counts the server itself too: that cannot be left out.
BUCKETS = "0.005 0.01 0.025 0.05 0.075 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 30 60"
VTS_SAME_COUNTS = f"""
    {VTS_ZONE}
    vhost_traffic_status_filter_by_set_key "$request_method $status" $server_name;
    vhost_traffic_status_histogram_buckets {BUCKETS};
"""
INGRESS_SOCKET = "/tmp/nginx/prometheus-nginx.socket"  # the path in its code, which is replaced

# The quick start of its README: a counter by host and status, a histogram by host.
LUA_PROMETHEUS = """
    lua_shared_dict prometheus_metrics 10M;
    lua_package_path "{prefix}/peer/?.lua;;";
    init_worker_by_lua_block {
        prometheus = require("prometheus").init("prometheus_metrics")
        requests = prometheus:counter("nginx_http_requests_total", "Number of HTTP requests", {"host", "status"})
        latency = prometheus:histogram("nginx_http_request_duration_seconds", "HTTP request latency", {"host"})
    }
    log_by_lua_block {
        requests:inc(1, {ngx.var.server_name, ngx.var.status})
        latency:observe(tonumber(ngx.var.request_time), {ngx.var.server_name})
    }
"""
# A batch large enough that nothing is dropped.
INGRESS = """
    lua_package_path "{prefix}/peer/?.lua;;";
    init_worker_by_lua_block { require("monitor").init_worker(1000000) }
    log_by_lua_block { require("monitor").call() }
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer. ``main`` and ``http`` go into its nginx.conf. ``install`` copies its files below an nginx's prefix."""

    name: str
    main: str
    http: str
    install: Callable[[Path], None]


def _copied(folder: Path) -> Callable[[Path], None]:
    def install(prefix: Path) -> None:
        shutil.copytree(folder, prefix / "peer", ignore=shutil.ignore_patterns("test", ".git"))
        for path in [prefix / "peer", *(prefix / "peer").rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)

    return install


def _ingress(folder: Path) -> Callable[[Path], None]:
    copy = _copied(folder)

    def install(prefix: Path) -> None:
        copy(prefix)
        module, reader = prefix / "peer" / "monitor.lua", prefix / "reader.sock"
        module.write_text(module.read_text().replace(INGRESS_SOCKET, str(reader)))
        _read_all(reader)

    return install


def _read_all(path: Path) -> None:
    """Listen on a stream socket and discard all that is sent there, in place of ingress-nginx's controller."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o666)
    listener.listen()

    def read() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(1 << 20):
                    pass

    threading.Thread(target=read, daemon=True).start()


def known(environment: Mapping[str, str] = os.environ) -> list[Peer]:
    """Return the peers whose folders are named. Raises FileNotFoundError, which names the wrong variable."""
    installed = []
    for name, variable in FOLDERS.items():
        folder = Path(environment.get(variable, ""))
        if not environment.get(variable):
            continue
        required = {VTS: VTS_MODULE, "nginx-lua-prometheus": "prometheus.lua", "ingress-nginx": "monitor.lua"}[name]
        if not (folder / required).is_file():
            raise FileNotFoundError(f"{variable} is {folder}, where there is no {required}")
        installed += _peers(name, folder)
    return installed


def _peers(name: str, folder: Path) -> list[Peer]:
    if name == VTS:
        main = f"load_module {folder / VTS_MODULE};"
        settings = {VTS: VTS_ZONE, VTS_SAME: VTS_SAME_COUNTS}
        return [Peer(setting, main, http, lambda _: None) for setting, http in settings.items()]
    if name == "nginx-lua-prometheus":
        return [Peer(name, "", LUA_PROMETHEUS, _copied(folder))]
    return [Peer(name, "", INGRESS, _ingress(folder))]
