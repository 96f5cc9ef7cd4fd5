"""Who is remembered, and as what: a world of processes that is looked at, and changes behind the memory's back."""

from dataclasses import replace

import pytest
from resty_metrics.commands.doctor.watch import memory as module
from resty_metrics.commands.doctor.watch.memory import Known, Memory
from resty_metrics.kernel.procfs import MAX_PARENTS, Parent, Process

SHELL = Process(10, 0, "/bin/sh", ("sh",), (Parent(1, "init"),), "/", None, {"mnt": 5})


class World(dict[int, Process]):
    """What /proc would show."""

    def describe(self, pid: int, known: Process | None) -> Process | None:
        process = self.get(pid)
        return replace(process, parents=known.parents) if process is not None and known is not None else process

    def execute(self, pid: int, exe: str) -> None:
        self[pid] = replace(SHELL, pid=pid, exe=exe, command=(exe,), parents=())


@pytest.fixture
def world() -> World:
    return World({10: SHELL})


@pytest.fixture
def memory(world: World) -> Memory:
    memory = Memory(world.describe)
    memory.meet(10)
    return memory


def exe(known: Known | None) -> str | None:
    assert known is not None
    return known.process.exe


def test_a_program_that_is_gone_is_known_with_its_parents(memory: Memory, world: World) -> None:
    memory.fork(10, 11)
    world.execute(11, "/bin/rm")
    memory.execute(11)
    del world[11]
    memory.end(11)
    known = memory.find(11)
    assert exe(known) == "/bin/rm"
    assert known is not None
    assert known.process.parents == (Parent(10, "sh"), Parent(1, "init"))


def test_a_child_is_what_its_parent_was_until_it_executes(memory: Memory) -> None:
    memory.fork(10, 11)
    memory.end(11)
    known = memory.find(11)
    assert known == Known(replace(SHELL, pid=11, parents=(Parent(10, "sh"), Parent(1, "init"))))


def test_a_parent_that_was_not_met_is_looked_at(world: World) -> None:
    memory = Memory(world.describe)
    memory.fork(10, 11)
    assert exe(memory.find(11)) == "/bin/sh"
    memory.fork(98, 99)
    assert memory.find(99) is None


def test_a_program_that_could_not_be_seen_leaves_what_was_known_of_its_process(memory: Memory) -> None:
    memory.fork(10, 11)
    known = memory.execute(11)
    assert known is not None
    assert (known.process.exe, known.process.command, known.process.ours) == (None, (), False)
    assert known.process.parents[0] == Parent(10, "sh")
    assert memory.execute(98) is None


def test_a_program_that_became_another(memory: Memory, world: World) -> None:
    memory.fork(10, 11)
    for name in ("/usr/bin/env", "/usr/bin/python"):
        world.execute(11, name)
        known = memory.execute(11)
    assert known is not None
    assert (exe(known), known.before and known.before.exe) == ("/usr/bin/python", "/usr/bin/env")


def test_what_a_process_executed_since_is_not_what_did_it(memory: Memory, world: World) -> None:
    """The event of the file comes before that of the exec."""
    memory.fork(10, 11)
    world.execute(11, "/bin/sleep")
    assert exe(memory.find(11)) == "/bin/sh"


def test_a_process_that_changed_its_user_is_told_as_it_is(memory: Memory, world: World) -> None:
    world[10] = replace(SHELL, uid=33)
    known = memory.find(10)
    assert known is not None
    assert known.process.uid == 33


def test_a_process_that_was_never_seen_is_looked_at(memory: Memory, world: World) -> None:
    world.execute(20, "/bin/rm")
    assert exe(memory.find(20)) == "/bin/rm"
    assert memory.find(21) is None
    assert memory.end(21) is None


def test_a_number_that_is_used_again(memory: Memory, world: World) -> None:
    for name in ("/bin/rm", "/bin/mv"):
        memory.fork(10, 11)
        world.execute(11, name)
        memory.execute(11)
        memory.end(11)
    del world[11]
    assert exe(memory.find(11)) == "/bin/mv"


def test_all_is_bounded(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ALIVE", 3)
    monkeypatch.setattr(module, "MAX_GONE", 2)
    for pid in range(11, 20):
        memory.fork(pid - 1, pid)
    assert memory.find(11) is None
    known = memory.find(19)
    assert known is not None
    assert len(known.process.parents) == 10
    for pid in range(17, 20):
        memory.end(pid)
    assert [memory.find(pid) is not None for pid in (17, 18, 19)] == [False, True, True]


def test_a_chain_of_parents_is_bounded(memory: Memory) -> None:
    for pid in range(11, 60):
        memory.fork(pid - 1, pid)
    known = memory.find(59)
    assert known is not None
    assert len(known.process.parents) == MAX_PARENTS
    assert known.process.parents[0] == Parent(58, "sh")


def test_when_events_were_lost_nothing_is_believed(memory: Memory, world: World) -> None:
    memory.fork(10, 11)
    memory.forget()
    assert memory.find(11) is None
    world[10] = replace(SHELL, exe="/bin/bash")
    assert exe(memory.find(10)) == "/bin/bash"
