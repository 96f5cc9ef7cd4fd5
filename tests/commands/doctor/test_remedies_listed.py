"""Every remedy that can be printed is applied by a test, or cannot be executed here for a reason that is stated.

A new remedy, or one in other words, is in neither list until somebody decides. Each entry is a part of one text.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from support.nginx import ROOT
from support.remedies import printed

HERE = "tests/commands/doctor/test_remedies_applied.py"
COLLECTOR = "tests/commands/doctor/test_remedies_of_the_collector.py"
APPLIED: Mapping[str, str] = {  # the test, by a part of the remedy
    "prlimit --pid": f"{HERE}::test_few_descriptors",
    "chmod o+x {opened}, or choose": f"{HERE}::test_a_directory_that_workers_may_not_search",
    "chmod o+x {shlex.join(searched)}": f"{HERE}::test_lua_files_that_workers_may_not_read",
    "chmod o+x {node.path}": f"{HERE}::test_a_directory_that_workers_may_not_search",
    "0660 and a group that the user is in": f"{HERE}::test_a_socket_that_workers_may_not_write",
    "0660 and a group of nginx's user": f"{HERE}::test_a_socket_that_workers_may_not_write",
    "add {listed} to socket.allow_uid": f"{HERE}::test_a_user_that_may_not_send",
    "If {user} runs nginx's workers": f"{HERE}::test_a_user_that_may_not_send",
    "kill -CONT {running.pid}": f"{HERE}::test_a_collector_that_is_stopped",
    "kill -CONT {pids}": f"{HERE}::test_a_worker_that_is_stopped_from_its_birth",
    "start it: resty-metrics serve": f"{HERE}::test_a_collector_that_is_not_there",
    "start it as it was started before": f"{COLLECTOR}::test_a_collector_that_ran_before",
    "check what the directory contains": f"{HERE}::test_a_directory_in_the_place_of_the_socket",
    "the collector puts its socket back": f"{COLLECTOR}::test_a_socket_that_was_removed_comes_back",
    "run: sudo resty-metrics install$": f"{HERE}::test_no_include",
    "add to a log_by_lua_block of http{}": f"{HERE}::test_the_include_without_a_hook_and_no_hook",
    "add as the first line{file}": f"{HERE}::test_a_hook_that_shadows",
    "remove that line{_RELOAD}": f"{HERE}::test_a_line_to_remove",
    "set it once in http{}": f"{HERE}::test_a_line_to_remove",
    "lua_shared_dict {statements.SPOOL} 8m;": f"{HERE}::test_no_spool",
    "write {socket_path} there": f"{HERE}::test_another_socket_in_nginx",
    "start the collector with --socket.path={setting.value}": f"{HERE}::test_the_socket_of_nginx_for_the_collector",
    "geo $resty_metrics_socket { default": f"{HERE}::test_no_socket_in_nginx",
    "choose among server, method": f"{HERE}::test_a_line_to_remove",
    "add server there": f"{HERE}::test_a_line_to_remove",
    "write the same value in both places": f"{HERE}::test_two_values_of_one_setting",
    "include resty-metrics-own-hook.conf instead": f"{HERE}::test_a_configuration_that_nginx_refuses",
    "leave lifecycle.conf out": f"{HERE}::test_a_configuration_that_nginx_refuses",
    "for a log_by_lua: {_OWN_HOOK}": f"{HERE}::test_a_configuration_that_nginx_refuses",
    "move the include of upstreams.conf": f"{HERE}::test_a_configuration_that_nginx_refuses",
    "include one of resty-metrics.conf and": f"{HERE}::test_a_configuration_that_nginx_refuses",
    "correct the configuration: until then": f"{HERE}::test_a_configuration_that_nginx_refuses",
    "start nginx$": f"{HERE}::test_nginx_that_does_not_run",
    "start nginx, or run doctor as root": f"{HERE}::test_nginx_that_does_not_run",
    "nginx -t && nginx -s reload": f"{HERE}::test_lua_files_that_workers_may_not_read",
    "do not restart the collector before the file is correct": f"{COLLECTOR}::test_a_file_that_is_wrong",
    "resty-metrics check-config {shlex.quote(fault.file)}": f"{COLLECTOR}::test_a_file_that_is_wrong",
    "resty-metrics check-config {'--web": f"{COLLECTOR}::test_a_file_that_was_refused",
    "Correct {path}, check it ({check})": f"{COLLECTOR}::test_a_file_that_was_refused",
    "reload it: kill -HUP {pid}": f"{COLLECTOR}::test_a_file_that_was_refused",
    "Start nginx, or correct the address": f"{COLLECTOR}::test_a_source_that_cannot_be_read",
    "it leads to another page": f"{COLLECTOR}::test_a_source_that_cannot_be_read",
    "or allow this machine in that location": f"{COLLECTOR}::test_a_source_that_cannot_be_read",
    "Create the directory again": f"{COLLECTOR}::test_a_state_directory_that_was_removed",
    "several collectors are running": f"{COLLECTOR}::test_one_of_several_collectors",
}
_LOOK = "it says where to look, and changes nothing"
_MACHINE = "it changes the whole machine: a package, the kernel, systemd, a disk"
_ELSEWHERE = "doctor runs again as another user, or in another namespace"
_ENDS = "it ends a process, and which one is for a person to decide"
_RELEASE = "it needs another release, and there is one here"
_DECISION = "a person decides: labels, metrics, names, addresses"
_REPORT = "it asks for a report of a bug"
_PART = "a part of the remedies that are in this list"
NOT_EXECUTED: Mapping[str, Iterable[str]] = {  # parts of remedies, by reason
    _LOOK: [
        "run doctor again; if that recurs",
        "see nginx's error log: nginx is about to end",
        "follow the advice in that",
        "check that the collector runs, and that --web",
        "check which program listens at",
        "see the collector's log",
        "{first.need_word}: getfacl",
        "{stopped.need_word}: getfacl",
        "ausearch -m avc",
        "journalctl -k",
        "see dmesg:",
        "correct what the error names",
        "see socket.holder",
        "Compare the access log",
        "If doctor did not run as root",
        "the core dump for the module",
        "the side that lost rows",
        "fault of that directory",
        "See the collector's log, and check that",
        "See the collector's log.",
        "it explains each reason once",
        "from its start: they name the files",
        "fault of its state directory",
        "Run doctor: it names the cause",
        "Run doctor: it names each log_by_lua",
        "Run doctor for the reason",
        "it has one line for each error",
        "See the collector's log for the reason",
        "Check whether these workers hang",
        "Watch which program does it",
        "run: sudo resty-metrics doctor --watch",
        "the certificate is valid and matches",
        "nginx is overloaded, or raise",
        "keeps the disk of --state.dir busy",
        "Wait: the collector was starting",
        "Check that the path is a directory",
        "can read the certificate, password or token",
    ],
    _MACHINE: [
        "sysctl -w net.unix",
        "sysctl net.unix.max_dgram_qlen",
        "start it: sudo systemctl",
        "apt install",
        "install lua-nginx-module (Debian",
        "install {words} or later",
        "Free some space",
        "Mount the disk",
        "Check the disk, and that",
        "copy {share} to /usr/share",
        "or repair the name server",
    ],
    _ELSEWHERE: [
        "run doctor as root$",
        "run doctor in its pid namespace",
        "run doctor where nginx runs",
        "give --nginx.command$",
        "nsenter --target {foreign}",
        "nsenter --target {nginx.master}",
        "doctor --nginx.command {shlex.quote(enter)}",
    ],
    _ENDS: [
        "end that process (resty",
        "stop process {process.pid}",
        "stop that collector, and start",
        "end process {running",
        "end what hangs (kill -9",
        "reload nginx, since its workers may be older",
        "restart nginx, which does not replace",
        "Stop one of the two collectors",
        "Stop the program that keeps the journal",
        "restart the collector: its directory",
        "restart nginx$",
        "reload or restart nginx, so that its workers run",
    ],
    _RELEASE: [
        "install the same version of both",
        "install the same version of all",
        "Install the same release of the Lua module and the collector. Workers",
        "and check that no other program writes",
    ],
    _DECISION: [
        "choose a --socket.path that is not below {stopped",
        "Choose a --socket.path that is not below {node",
        "document is larger than any",
        "Set --state.dir to an empty",
        "4,096 workers are alive",
        "heartbeats of 64 names",
        "a collector counts for 64 names",
        "metric whose type you changed",
        "A worker may have 1,000 gauges",
        "All workers together may have",
        "sends a label set twice",
        "Use fewer metrics of your own",
        "Keep the collector running while nginx",
        "Keep the collector running. If it runs",
        "Check that the socket's directory exists",
        "Let the user of nginx's workers search",
        "Map the label with the most values",
        "Use fewer gauges, or labels with fewer values.$",
        "Where a metric of yours has that name",
        "Where an nginx without a name",
    ],
    _REPORT: ["please report this", "Report this bug of the collector"],
    _PART: [
        r"\bresty-metrics (doctor",
        "Counts that the collector had not",
        "The journal then comes back by itself",
        "the refused user",
        "reload the collector$",
        "Correct the file and reload the collector.",
        "Correct what the collector's log names",
        "and check it: {check}. The collector reads it again",
    ],
}


def _matches(part: str, text: str) -> bool:
    """Return whether a part is in a text; one that ends with $ is its end and has its beginning too."""
    return text == part[:-1] if part.endswith("$") else part in text


def _texts() -> set[str]:
    return set().union(*printed().values())


def test_each_remedy_is_applied_or_stands_in_the_list_of_those_that_cannot_be() -> None:
    parts = [*APPLIED, *(part for listed in NOT_EXECUTED.values() for part in listed)]
    hits: Counter[str] = Counter()
    for text in _texts():
        found = [part for part in parts if _matches(part, text)]
        assert found, f"apply this remedy in a test, or list it with the reason: {text!r}"
        hits.update(found)
    assert [part for part in parts if not hits[part]] == [], "remedies that are not printed any more"
    assert {part: count for part, count in hits.items() if count > 1} == {}, "parts of several remedies"


def test_each_applied_remedy_has_its_test() -> None:
    for test in APPLIED.values():
        path, name = test.split("::")
        assert f"\ndef {name}(" in (ROOT / path).read_text(), test
