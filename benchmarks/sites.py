"""The nginx instances that are compared: each has one worker and the same site, and its own log hook."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from support.nginx import Nginx, set_include
from support.wait import free_port

from benchmarks.peers import Peer

SERVER = "www.example"
LABELS = "tenant=http_x_tenant tls=ssl_protocol scheme=scheme"
TENANT_LABEL = "tenant=http_x_tenant"
KIB = "x" * 1024
SITE = """
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        server_name {server};
        access_log {access_log};
        location / {{ return 200 "ok\\n"; }}
        location /file/ {{ alias {{prefix}}/file/; }}
        location /upstream {{ proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
    upstream backend {{ server 127.0.0.1:{backend}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen {{stub_status}};
        access_log off;
        location / {{ stub_status; }}
    }}
"""
BACKEND = """
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        access_log off;
        location / {{ return 200 "ok\\n"; }}
    }}
"""
EMPTY = "local _M = {}\nfunction _M.log() end\nreturn _M\n"
EMPTY_HOOK = 'lua_package_path "{prefix}/own/?.lua;;"; log_by_lua_block { require("empty").log() }'
UPSTREAMS = "include {share}/nginx.conf.d/upstreams.conf;"


@dataclass(frozen=True, slots=True)
class Handler:
    """A handler that is compared: an nginx, and the port of its site."""

    name: str
    nginx: Nginx
    port: int

    @property
    def worker(self) -> int:
        (pid,) = self.nginx.worker_pids()
        return pid


def _handler(
    name: str, socket_path: Path, backend: int, http: str = "", *, include: str = "", main: str = "", log: str = "off"
) -> Handler:
    port = free_port()
    nginx = Nginx(socket_path, "", workers=1, include=include, main=main)
    site = SITE.format(server=SERVER, port=port, backend=backend, access_log=log)
    nginx.configure(http + site.replace("{stub_status}", nginx.stub_status))
    for folder, file, content in (("own", "empty.lua", EMPTY), ("file", "1k", KIB)):
        path = nginx.prefix / folder / file
        path.parent.mkdir(mode=0o755)
        path.write_text(content)
        path.chmod(0o644)
    return Handler(name, nginx, port)


def bare(name: str, socket_path: Path, backend: int) -> Handler:
    return _handler(name, socket_path, backend)


def empty(name: str, socket_path: Path, backend: int) -> Handler:
    """Return an nginx with a log hook that does nothing, to measure the cost of the call to Lua."""
    return _handler(name, socket_path, backend, EMPTY_HOOK)


def access_log(name: str, socket_path: Path, backend: int) -> Handler:
    return _handler(name, socket_path, backend, log="{prefix}/access.log combined")


def ours(
    name: str, socket_path: Path, backend: int, *, labels: str = "", upstreams: bool = False, code: Path | None = None
) -> Handler:
    """Return an nginx with our drop-in include. ``labels``: the user's labels in it. ``code``: another checkout, whose
    Lua code is used.
    """
    http = UPSTREAMS if upstreams else ""
    handler = _handler(name, socket_path, backend, http, include="resty-metrics.conf")
    set_include(handler.nginx.share / "nginx.conf.d" / "resty-metrics.conf", "labels", labels)
    if code is not None:
        shutil.rmtree(handler.nginx.share / "lua")
        shutil.copytree(code / "lua", handler.nginx.share / "lua")
    return handler


def of_peer(peer: Peer, socket_path: Path, backend: int) -> Handler:
    handler = _handler(peer.name, socket_path, backend, peer.http, main=peer.main)
    peer.install(handler.nginx.prefix)
    return handler
