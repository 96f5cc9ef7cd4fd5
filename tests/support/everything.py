"""An nginx and a collector whose page has every family that there is."""

import http.client
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.collector import Collector
from support.nginx import Nginx
from support.wait import free_port, wait_until

_VTS = Path(__file__).parents[1] / "data" / "vts"
_CAPTURE = "13-everything"

# Requests of each kind: answered here, passed on (where the first peer is down), cached, upgraded.
_SITE = """
    include {{share}}/nginx.conf.d/lifecycle.conf;
    include {{share}}/nginx.conf.d/upstreams.conf;
    include {{share}}/nginx.conf.d/stub-status.conf;
    proxy_cache_path {{prefix}}/cache keys_zone=pages:1m;
    upstream pool {{ server 127.0.0.1:{down} max_fails=0; server 127.0.0.1:{port} max_fails=0; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 "ok\\n"; }}
        location /passed/ {{ proxy_pass http://pool/; }}
        location /cached/ {{ proxy_cache pages; proxy_pass http://127.0.0.1:{port}/; }}
        location /upgraded {{ content_by_lua_block {{ ngx.status = 101; ngx.send_headers() }} }}
        location /vts/ {{ alias {{prefix}}/vts/; }}
    }}
"""
_PATHS = ("/", "/passed/", "/passed/", "/cached/", "/upgraded")


def _send(port: int, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    connection.getresponse().read()
    connection.close()


@contextmanager
def everything(socket_path: Path) -> Iterator[Collector]:
    """The collector, when all of it is counted."""
    port, down = free_port(), free_port()
    nginx = Nginx(socket_path, _SITE.format(port=port, down=down))
    shutil.copytree(_VTS, nginx.prefix / "vts")
    vts = f"--source.vts=fetched=http://127.0.0.1:{port}/vts/{_CAPTURE}.vts.json"
    stub_status = f"--source.stub-status=fetched=http://{nginx.stub_status}/stub_status"
    with Collector(socket_path, stub_status, vts) as collector, nginx:
        for path in _PATHS:
            _send(port, path)
        wait_until(lambda: sum(collector.request_counts().values()) >= len(_PATHS), message="the requests on the page")
        yield collector
