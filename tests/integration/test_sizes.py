"""The sizes of requests and responses, of each number of digits, are those that nginx logs."""

from pathlib import Path

from support.client import ask, get
from support.collector import Collector
from support.labels import by_labels
from support.nginx import Nginx
from support.wait import free_port, wait_until

BODIES = (0, 1, 99, 1_000, 9_000, 99_000, 999_000, 9_000_000, 30_000_000)
SITE = """
    log_format sizes '$request_length $bytes_sent';
    client_max_body_size 100m;
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        root {root};
        access_log {{prefix}}/sizes.log sizes;
        location / {{ }}
        location = /direct {{
            content_by_lua_block {{
                local decimal = require "resty.metrics.decimal"
                for _, name in ipairs {{ "request_length", "bytes_sent", "msec", "no_such_variable", "uri" }} do
                    local read, direct = decimal.reader(name)
                    ngx.print(name, " ", type(read()), " ", tostring(direct), "\\n")
                end
            }}
        }}
    }}
"""
KNOWN_DIRECTLY = """\
request_length number true
bytes_sent number true
msec number true
no_such_variable number true
uri number false
"""


def test_the_sums_are_those_of_the_log(socket_path: Path, shared: Path) -> None:
    port, root = free_port(), shared / "root"
    root.mkdir(mode=0o755)
    for size in BODIES:
        (root / str(size)).write_bytes(bytes(size))
        (root / str(size)).chmod(0o644)
    with Collector(socket_path) as collector, Nginx(socket_path, SITE.format(port=port, root=root)) as nginx:
        for size in BODIES:
            get(port, f"/{size}")
            get(port, f"/0?{'x' * (size % 7000 + 1)}")
            ask(port, f"/{size}", "HEAD")
        assert ask(port, "/direct").body.decode() == KNOWN_DIRECTLY

        def logged() -> tuple[int, int]:
            sizes = [line.split() for line in (nginx.prefix / "sizes.log").read_text().splitlines()]
            return sum(int(one) for one, _ in sizes), sum(int(one) for _, one in sizes)

        def counted() -> tuple[int, ...]:
            samples = collector.samples()
            names = ("nginx_http_request_bytes_total", "nginx_http_response_bytes_total")
            return tuple(by_labels(samples, name).total() for name in names)

        wait_until(lambda: counted() == logged(), message="the sums of the log")
        assert nginx.errors() == []
