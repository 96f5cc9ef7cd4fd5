"""Debian's own nginx, as its packages leave it, with no flag at all; all of it in namespaces and under overlays."""

import os
import subprocess
from pathlib import Path

import pytest
from support.collector import COMMAND
from support.debian import environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and overlays need root"),
    pytest.mark.skipif(not Path("/etc/nginx/conf.d").is_dir(), reason="no nginx of Debian's"),
]

SCRIPT = """
set -eu
mount -t tmpfs tmpfs "$1"
cd "$1"
for top in etc usr/share var/lib; do
    mkdir -p "$top" "$top.work"
    mount -t overlay overlay -o "lowerdir=/$top,upperdir=$1/$top,workdir=$1/$top.work" "/$top"
done
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir /var/log/nginx
ip link set lo up
nginx
cp -a /etc/nginx before
unchanged() { diff -r before /etc/nginx && [ ! -e /usr/share/resty-metrics ] && echo unchanged; }
"$2" install --yes && exit 1
unchanged
"$2" serve --state.dir=none 2>log &
for _ in $(seq 200); do (: </dev/tcp/localhost/19145) 2>/dev/null && break; sleep 0.1; done
"$2" install --yes
"$2" doctor --json >findings || true
grep '"FAIL"' findings && exit 1
"$2" install
"$2" install --yes --with-upstreams --with-stub-status
"$2" uninstall --yes
unchanged
nginx -t
kill %1 $(cat /run/nginx.pid)
wait
echo done
"""


def test_debians_own_nginx(shared: Path) -> None:
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "--pid",
            "--net",
            "--fork",
            "--mount-proc",
            "bash",
            "-c",
            SCRIPT,
            "bash",
            shared,
            COMMAND,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
    )
    said = done.stdout + done.stderr
    if "mount: " in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, said
    assert done.stdout.count("unchanged\n") == 2, said
    assert "then: nginx -t, a reload, and one request to 127.0.0.1:80 (server _)" in done.stdout
    assert done.stdout.count("counted: a request to 127.0.0.1:80 (server _) is on the page") == 3, said
    assert "already installed" in done.stdout
    for name in ("resty-metrics", "lifecycle", "upstreams", "stub-status"):
        assert f"\n  include /usr/share/resty-metrics/nginx.conf.d/{name}.conf;\n" in done.stdout
    assert done.stdout.endswith("done\n")
