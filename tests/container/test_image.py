"""The container image: built from the Dockerfile, run as an engine runs it, beside an nginx that shares a directory."""

import os
import shlex
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import readme
from support.containers import IN_NGINX_CONTAINER, ContainedNginx, container
from support.image import IMAGE_UID, SOCKETS, STATE, Buildah, Image, ImageCollector
from support.nginx import ROOT, Nginx
from support.stage import SLOW_HEALS_SECONDS, Stage, play, site
from support.wait import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0 and "CI" not in os.environ, reason="needs root, for debootstrap"),
]

ENDS_SECONDS = 2


def test_the_image_is_small_and_not_root(buildah: Buildah, image: Image) -> None:
    inside = ["--isolation=chroot", image.container, "--"]
    assert buildah("run", *inside, "id", "-u") == str(IMAGE_UID)
    assert buildah("run", *inside, "resty-metrics", "-V").startswith("resty-metrics 0.")
    assert buildah("run", *inside, "sh", "-c", "ls /src 2>&1 || true").startswith("ls: cannot access")
    export = "resty-metrics export /tmp/files >/dev/null && cd /tmp/files && ls */resty-metrics.conf */rules grafana"
    exported = buildah("run", *inside, "sh", "-c", export).split()
    assert {"nginx.conf.d/resty-metrics.conf", "alerts.yml", "overview.json", "provisioning"} <= set(exported)
    added = int(buildah("run", *inside, "du", "-sk", "/opt/resty-metrics").split()[0])
    assert added < 72_000, "the libraries, with their bytecode: uvloop is 14 MB of it, pygments (by rich, for top) 10"


def test_the_official_nginx_may_send_whatever_the_file_says(buildah: Buildah, image: Image) -> None:
    """A variable in the image would win over a file that is mounted."""
    inside = ["--isolation=chroot", image.container, "--", "sh", "-c"]
    write = "echo 'socket: {allow_uid: [1000]}' > /tmp/c.yml && resty-metrics check-config /tmp/c.yml"
    assert "allow_uid:\n  - 1000\n" in buildah("run", *inside, write)
    known = "from resty_metrics.endpoint.credentials import allowed_uids; print(101 in allowed_uids(()))"
    assert buildah("run", *inside, f"python3 -c '{known}'") == "True"


def test_an_engine_is_told_what_it_is(image: Image) -> None:
    told = image.configuration
    assert (told["User"], told["Entrypoint"], told["Cmd"]) == ("10001:10001", ["resty-metrics"], ["serve"])
    assert set(told["Volumes"]) == {SOCKETS, STATE}
    assert set(told["ExposedPorts"]) == {"19145/tcp"}
    assert told["Healthcheck"]["Test"] == ["CMD", "resty-metrics", "healthcheck"]
    titles = {name.removeprefix("org.opencontainers.image."): text for name, text in told["Labels"].items()}
    assert titles.items() >= {"title": "resty-metrics", "licenses": "Apache-2.0"}.items()


def test_it_needs_no_right_and_no_file_but_its_volumes(image: Image, shared: Path) -> None:
    with ImageCollector(image, shared, "--pid") as collector:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{collector.pid}/status").read_text().splitlines())
        assert set(status["Uid"].split()) == {str(IMAGE_UID)}
        assert status["NSpid"].split()[-1] == "1"
        assert (int(status["CapEff"], 16), status["NoNewPrivs"]) == (0, "1")
        mounts = [line.split()[4:6] for line in Path(f"/proc/{collector.pid}/mountinfo").read_text().splitlines()]
        written = {place for place, options in mounts if "rw" in options.split(",")}
        assert "/" not in written
        assert {SOCKETS, STATE} <= written
        said = collector.execute("sh", "-c", "echo > /file")
        assert "Read-only file system" in said.stderr
        assert collector.value("resty_metrics_journal_up") == 1
        assert "RestyMetricsSocketDown</h2>" in collector.page("/-/runbook")
        assert collector.execute(*image.configuration["Healthcheck"]["Test"][1:]).returncode == 0
        assert not [line for line in collector.log().splitlines() if "level=info" not in line]


def test_an_engine_stops_it_at_its_first_word(image: Image, shared: Path) -> None:
    """SIGTERM to process 1 of a pid namespace, which has no default action: whoever does not handle it stays."""
    with ImageCollector(image, shared, "--pid") as collector:
        assert collector.process is not None
        os.kill(collector.pid, signal.SIGTERM)
        assert collector.process.wait(timeout=ENDS_SECONDS) == 0


@pytest.mark.parametrize("apart", [False, True], ids=["the same namespaces", "network and pid namespaces apart"])
def test_nothing_is_lost_over_a_shared_volume(
    image: Image, shared: Path, apart: bool, request: pytest.FixtureRequest
) -> None:
    """Containers come and go on the volumes, nginx reloads: the page is nginx's access_log."""
    port, seen_by_nginx = free_port(), shared / "run" / "collector.sock"
    with ExitStack() as stack:
        collector = stack.enter_context(ImageCollector(image, shared, *(["--pid"] if apart else [])))
        if apart:
            theirs = shared / "nginx-sees"
            words = container(IN_NGINX_CONTAINER, shared / "run", theirs, "--net")
            nginx: Nginx = ContainedNginx(words, theirs / "collector.sock", site(port))
        else:
            nginx = Nginx(seen_by_nginx, site(port))
        stack.enter_context(nginx)
        stage = stack.enter_context(play(Stage(request.node.name, shared, collector, nginx, port, False)))
        assert namespaces(collector.pid).isdisjoint(namespaces(nginx.master_pid())) is apart
        if apart:
            stage.load_under = ("nsenter", f"--net=/proc/{nginx.master_pid()}/ns/net")
        with stage.load():
            stage.flows(0)
            for end in (collector.kill, collector.terminate):
                with stage.sampler.away():
                    end()
                    collector.start()
                stage.heals(SLOW_HEALS_SECONDS)
                nginx.reload()
                stage.flows()
        stage.conserved()


def namespaces(pid: int) -> set[Path]:
    return {Path(f"/proc/{pid}/ns/{name}").readlink() for name in ("net", "pid")}


TYPED = """
set -eu
sudo() {{ "$@"; }}
mount -t tmpfs tmpfs "$1"
for top in etc usr/share; do
    mkdir -p "$1/$top" "$1/$top.work"
    mount -t overlay overlay -o "lowerdir=/$top,upperdir=$1/$top,workdir=$1/$top.work" "/$top"
done
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir /var/log/nginx
install -d -o {uid} /run/state
ip link set lo up
nginx
{directory}
{run} &
{patiently} localhost:19145/-/ready
{copy}
echo '{include}' >/etc/nginx/conf.d/metrics.conf
{reload}
for _ in $(seq 200); do
    curl --silent --output /dev/null http://localhost/
    if {seen}; then break; fi
    sleep 0.1
done
kill $(cat /run/nginx.pid)
"""


@pytest.mark.skipif(
    not Path("/etc/nginx/conf.d").is_dir() and "CI" not in os.environ, reason="no nginx as Debian has it"
)
def test_a_newcomers_way(image: Image, shared: Path) -> None:
    """README.md's words, in namespaces where its directory and ports are nobody else's; ``docker run`` is ours."""
    blocks = readme.blocks()
    _, directory, run = blocks["image"].replace("\\\n", "").splitlines()
    script = TYPED.format(
        uid=IMAGE_UID,
        patiently=readme.PATIENTLY,
        directory=directory,
        run=shlex.join(image.docker_run(run, {"resty-metrics": "/run/state"})),
        **{name: blocks[name] for name in ("copy", "include", "reload", "seen")},
    )
    words = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run(
        [*words, "bash", "-c", script, "newcomer", str(shared)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if "mount: " in done.stderr and "CI" not in os.environ:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'nginx_http_responses_total{server="_",method="GET",status="200"} ' in done.stdout, done.stderr
