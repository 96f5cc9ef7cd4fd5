"""docs/wire.md as a model: workers and a spool in a few lines each, against the real senders, intake and table.

Every request is a label value of its own, so the table says for each whether it was counted, and how often. The line
between the two sides loses, doubles and reorders datagrams and answers; commits stall; the collector is killed and
reads its journal, or forgets all; a worker ends into the spool, an heir takes over, a worker is killed. Each worker is
born under another name of its nginx than the one before, or under none: as if every reload had changed it.

- Never, within one life of the journal, is a request counted twice, or a counter lower than it was, unless the row was
  deleted by the worker that counted it. That is ordered with its batches: a row that was deleted stays gone.
- When all is quiet again, every request is counted once, but for those that may be lost: what a killed worker had, what
  did not fit the spool, what a collector that forgot all had counted. What was in a batch that the collector
  could not read is not counted.
- A request stands under the name that the worker had which first sent it, whoever sends it again.
- All does become quiet: no sender is ever stuck.

The collector has room for few senders: the dead, the silent and those that ended give way to new ones all the time, and
many of them come back.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from resty_metrics.ingest.beats import GAUGES_SECONDS
from resty_metrics.ingest.drain import Drain
from resty_metrics.ingest.intake import Intake
from resty_metrics.ingest.senders import Senders
from resty_metrics.journal.records import of_drain, replay
from resty_metrics.journal.snapshot import read, write
from resty_metrics.journal.state import State, capture
from resty_metrics.wire.datagram import VERSION, Header, Kind, Verdict, read_answer, write_datagram
from support.effort import examples

WINDOW_BATCHES = 4
QUEUE_DATAGRAMS = 3
SPOOL_BATCHES = 3
ROUNDS_TO_QUIET = 60
NAMES = ("", "a", "b")
SENDERS = 2
SILENT = GAUGES_SECONDS + 1.0


def with_room_for_few(state: State) -> State:
    """The same state, in a collector with a small cap of senders."""
    marks, state.senders = state.senders.capture(), Senders(SENDERS)
    for mark in marks:
        state.senders.restore(mark)
    return state


@dataclass
class Batch:
    requests: list[int]
    poisoned: bool = False
    deleted: list[int] = field(default_factory=list)


@dataclass
class Sender:
    """A sender as its holder knows it. ``sent`` is the highest number ever sent, ``cursor`` the next to send."""

    name: bytes
    birth_ms: int
    base: int = 1
    sent: int = 0
    cursor: int = 1
    batches: dict[int, Batch] = field(default_factory=dict)
    flowing: bool = True
    inherited: bool = False
    instance: str = ""

    @property
    def next(self) -> int:
        return self.base + len(self.batches)

    def stall(self) -> None:
        self.flowing = False

    def acked(self, committed: int) -> None:
        """An answer. Of an inherited sender the end may have been lost, and the collector may know more than we."""
        last = min(committed, self.sent) if self.inherited else committed
        if last > self.sent:
            return
        progress = last >= self.base
        for sequence in range(self.base, last + 1):
            del self.batches[sequence]
        self.base = max(self.base, last + 1)
        self.cursor = max(self.cursor, self.base)
        if not self.flowing and (progress or not self.batches):
            self.flowing, self.cursor = True, self.base


@dataclass
class Worker:
    own: Sender
    held: list[Sender] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    beat: int = 0
    poison: bool = False
    cut_requests: list[int] = field(default_factory=list)
    deletions: list[int] = field(default_factory=list)

    @property
    def senders(self) -> list[Sender]:
        return [self.own, *self.held]

    @property
    def busy(self) -> bool:
        return bool(self.rows or self.deletions or self.held or self.own.batches)

    def cut(self) -> bool:
        """Freeze the dirty rows into a batch, as long as everything flows and the window has room."""
        own = self.own
        dirty = self.rows or self.deletions
        if not dirty or not own.flowing or own.cursor != own.next or len(own.batches) >= WINDOW_BATCHES:
            return False
        own.batches[own.next] = Batch(self.rows[:3], self.poison, self.deletions)
        self.cut_requests += self.rows[:3]
        self.rows, self.poison, self.deletions = self.rows[3:], False, []
        return True


@dataclass
class Spool:
    """``senders``: names with their sent batches; ``rows``: bodies that were never sent."""

    senders: list[Sender] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)

    def put(self, sender: Sender) -> list[Batch]:
        """Take a sender's batches as far as they fit; those that were lost."""
        room = SPOOL_BATCHES - sum(len(sender.batches) for sender in self.senders)
        numbers = sorted(sender.batches)
        kept = {number: sender.batches[number] for number in numbers[: max(room, 0)]}
        if kept:
            left = Sender(sender.name, sender.birth_ms, sender.base, sender.base + len(kept) - 1, sender.base, kept)
            left.inherited, left.instance = True, sender.instance
            self.senders.append(left)
        return [sender.batches[number] for number in numbers if number not in kept]


FAULTS = st.sampled_from(["lose", "double", "delay"])
RARE_EVENTS = [
    "a_worker_starts",
    "a_worker_is_killed",
    "a_batch_is_poisoned",
    "a_row_is_deleted",
    "a_worker_beats",
    "the_collector_is_ready_or_not",
    "time_passes",
    "silence",
    "all_is_quiet",
    "a_snapshot_is_taken",
]
Message = TypeVar("Message")


def inflict(data: st.DataObject, fault: str, line: list[Message]) -> None:
    """Lose, double or delay one message of a line."""
    message = line.pop(data.draw(st.integers(0, len(line) - 1)))
    for _ in range({"lose": 0, "delay": 1, "double": 2}[fault]):
        line.insert(data.draw(st.integers(0, len(line))), message)


class WireModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.requests = 0
        self.births = 0
        self.may_be_lost: set[int] = set()
        self.poisoned: set[int] = set()
        self.deleted: set[int] = set()  # by whoever counted it; perhaps the collector never heard of it
        self.surely_deleted: set[int] = set()
        self.called: dict[int, str] = {}
        self.spool = Spool()
        self.workers: list[Worker] = []
        self.queue: list[tuple[bytes, Worker]] = []
        self.answers: list[tuple[bytes, Worker]] = []
        self.begin_collector()

    def begin_collector(self, state: State | None = None) -> None:
        """With what the journal held, or with nothing and a new journal."""
        self.state = with_room_for_few(State() if state is None else state)
        self.snapshot = list(write(capture(self.state, self.now)))
        self.records: list[bytes] = []
        self.intake = Intake(self.state.table, self.state.senders, lambda uid: True)
        self.drains: list[tuple[Drain, dict[bytes, Worker]]] = []
        self.descriptors: dict[bytes, Worker] = {}

    # the worker's side

    def send(self, worker: Worker, kind: Kind, sender: Sender, sequence: int) -> bool:
        """False is EAGAIN. ``base`` is rewritten at every send."""
        if len(self.queue) >= QUEUE_DATAGRAMS:
            return False
        body: dict[str, object] = {}
        if kind is Kind.BATCH:
            batch = sender.batches[sequence]
            rows = [[str(request), -1 if batch.poisoned else 1] for request in batch.requests]
            family: dict[str, Any] = {
                "name": "c_total",
                "type": "counter",
                "labels": ["n"],
                "columns": ["value"],
                "rows": rows,
            }
            family["del"] = [[str(request)] for request in batch.deleted]
            self.surely_deleted.difference_update(batch.deleted if batch.poisoned else ())
            body = {"instance": sender.instance, "families": [family]}
            self.called.update(dict.fromkeys(batch.requests, sender.instance))
            self.poisoned.update(batch.requests if batch.poisoned else ())
        header = Header(VERSION, kind, sender.name, sender.birth_ms, sequence, sender.base)
        self.queue.append((write_datagram(header, body), worker))
        return True

    def send_due(self, worker: Worker, sender: Sender, retry: bool) -> None:
        if sender.flowing:
            while sender.cursor < sender.next and self.send(worker, Kind.BATCH, sender, sender.cursor):
                sender.sent = max(sender.sent, sender.cursor)
                sender.cursor += 1
        elif retry and sender.batches and self.send(worker, Kind.BATCH, sender, sender.base):
            sender.sent = max(sender.sent, sender.base)

    def tick_worker(self, worker: Worker, retry: bool) -> None:
        for sender in worker.senders:
            self.send_due(worker, sender, retry)
        while worker.cut():
            self.send_due(worker, worker.own, retry)
        for sender in [sender for sender in worker.held if not sender.batches]:
            self.send(worker, Kind.BYE, sender, sender.next - 1)
            worker.held.remove(sender)

    def beat(self, worker: Worker) -> None:
        worker.beat += 1
        self.send(worker, Kind.HEARTBEAT, worker.own, worker.beat)

    def inherit(self, worker: Worker) -> None:
        if self.spool.rows:
            worker.rows += self.spool.rows.pop(0)
        if self.spool.senders:
            sender = self.spool.senders.pop(0)
            sender.cursor, sender.flowing = sender.base, True
            worker.held.append(sender)

    def end(self, worker: Worker) -> None:
        """Never sent: to the spool's rows. Sent and not acked: to its senders."""
        for sender in worker.senders:
            for sequence in [number for number in sender.batches if number > sender.sent]:
                batch = sender.batches.pop(sequence)
                worker.rows += batch.requests
                self.surely_deleted.difference_update(batch.deleted)
            if sender.batches:
                self.lose(self.spool.put(sender))
            else:
                self.send(worker, Kind.BYE, sender, sender.next - 1)
        self.surely_deleted.difference_update(worker.deletions)
        if worker.rows:
            self.spool.rows.append(worker.rows)

    def lose(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            self.may_be_lost.update(batch.requests)
            self.surely_deleted.difference_update(batch.deleted)

    def hear(self, worker: Worker, data: bytes) -> None:
        answer = read_answer(data)
        for sender in worker.senders:
            if sender.name == answer.sender:
                if answer.verdict is Verdict.HOLD:
                    sender.stall()
                sender.acked(answer.committed)

    # the collector's side

    def receive_one(self) -> None:
        datagram, worker = self.queue.pop(0)
        outcome = self.intake.receive(datagram, 0, self.now)
        if outcome.sender is not None:
            self.descriptors[outcome.sender] = worker

    def end_drain(self) -> None:
        drain = self.intake.take()
        self.answers += [(answer, self.descriptors[sender]) for sender, answer in drain.prompt]
        self.drains.append((drain, self.descriptors))
        self.descriptors = {}

    def write(self, drain: Drain) -> None:
        record = of_drain(drain)
        if record is not None:
            self.records.append(record)

    def commit_one(self) -> None:
        drain, descriptors = self.drains.pop(0)
        self.write(drain)
        self.answers += [(answer, descriptors[sender]) for sender, answer in self.intake.settle(drain).answers]

    def counted(self) -> dict[int, float]:
        """Each request, over all names: under two of them it would be counted twice."""
        counts: Counter[int] = Counter()
        for family in self.intake.table.families.values():
            for row in family.rows:
                counts[int(row.labels[0])] += int(row.numbers[0])
        return dict(counts)

    # what happens

    @initialize()
    def first_workers(self) -> None:
        self.spawn()
        self.spawn()

    def spawn(self) -> None:
        self.births += 1
        name = NAMES[self.births % len(NAMES)]
        self.workers.append(Worker(Sender(self.births.to_bytes(16, "big"), self.births, instance=name)))

    def pick(self, data: st.DataObject) -> Worker:
        if not self.workers:
            self.spawn()
        return self.workers[data.draw(st.integers(0, len(self.workers) - 1))]

    @rule(data=st.data(), count=st.integers(0, 9), retry=st.booleans())
    def serve_and_tick(self, data: st.DataObject, count: int, retry: bool) -> None:
        worker = self.pick(data)
        worker.rows += range(self.requests, self.requests + count)
        self.requests += count
        self.tick_worker(worker, retry)

    @rule(data=st.data())
    def ack_is_overdue(self, data: st.DataObject) -> None:
        for sender in self.pick(data).senders:
            sender.stall()

    @precondition(lambda self: self.spool.rows or self.spool.senders)
    @rule(data=st.data())
    def take_from_spool(self, data: st.DataObject) -> None:
        self.inherit(self.pick(data))

    @precondition(lambda self: self.queue)
    @rule(count=st.integers(1, QUEUE_DATAGRAMS), commit=st.sampled_from([0, 0, 1, 3]))
    def drain(self, count: int, commit: int) -> None:
        """One drain or, where commits are slow, one for each datagram."""
        for _ in range(min(count, len(self.queue))):
            self.receive_one()
            if commit < 2:
                self.end_drain()
        self.end_drain()
        for _ in range(min(commit, len(self.drains))):
            self.commit_one()

    @precondition(lambda self: self.drains)
    @rule()
    def commit_the_oldest_drain(self) -> None:
        self.commit_one()

    @precondition(lambda self: self.answers)
    @rule(count=st.integers(1, 8))
    def hear_answers(self, count: int) -> None:
        for _ in range(min(count, len(self.answers))):
            answer, worker = self.answers.pop(0)
            self.hear(worker, answer)

    @precondition(lambda self: self.queue)
    @rule(data=st.data(), fault=FAULTS)
    def fault_on_the_way_there(self, data: st.DataObject, fault: str) -> None:
        inflict(data, fault, self.queue)

    @precondition(lambda self: self.answers)
    @rule(data=st.data(), fault=FAULTS)
    def fault_on_the_way_back(self, data: st.DataObject, fault: str) -> None:
        inflict(data, fault, self.answers)

    @rule(data=st.data(), event=st.sampled_from(RARE_EVENTS))
    def something_rare(self, data: st.DataObject, event: str) -> None:
        """One rule for all of these: as rules of their own they would leave no run long enough for the rest."""
        getattr(self, event)(data)

    def a_worker_starts(self, data: st.DataObject) -> None:
        if len(self.workers) < 4:
            self.spawn()

    @rule(data=st.data())
    def a_worker_ends(self, data: st.DataObject) -> None:
        worker = self.pick(data)
        self.workers.remove(worker)
        self.end(worker)

    def a_worker_is_killed(self, data: st.DataObject) -> None:
        worker = self.pick(data)
        self.workers.remove(worker)
        self.may_be_lost.update(worker.rows)
        self.surely_deleted.difference_update(worker.deletions)
        for sender in worker.senders:
            self.lose(sender.batches.values())

    def a_batch_is_poisoned(self, data: st.DataObject) -> None:
        self.pick(data).poison = True

    def a_row_is_deleted(self, data: st.DataObject) -> None:
        """One that went into a batch of this worker's own: what the deletion comes behind."""
        worker = self.pick(data)
        if worker.cut_requests:
            request = worker.cut_requests.pop(data.draw(st.integers(0, len(worker.cut_requests) - 1)))
            worker.deletions.append(request)
            self.deleted.add(request)
            self.surely_deleted.add(request)

    def a_worker_beats(self, data: st.DataObject) -> None:
        self.beat(self.pick(data))

    @rule(data=st.data())
    def the_collector_forgets(self, data: st.DataObject) -> None:
        """A restart without journal, a last commit and its answers just before it.

        A kept queue is worse than any real socket: old datagrams meet a new life.
        """
        for _ in range(min(data.draw(st.integers(0, 2)), len(self.drains))):
            self.commit_one()
        if data.draw(st.booleans()):
            self.hear_answers(len(self.answers))
        self.may_be_lost.update(self.counted())
        self.surely_deleted.clear()  # a batch that is still on its way may bring back what a later one had deleted
        self.begin_collector()
        if data.draw(st.booleans()):
            self.queue.clear()

    @rule(data=st.data())
    def the_collector_is_killed(self, data: st.DataObject) -> None:
        """Its journal is read; of the drains under way some were written, and none of those was answered."""
        before = self.counted()
        written = data.draw(st.integers(0, len(self.drains)))
        for drain, _ in self.drains[:written]:
            self.write(drain)
        state = read(self.snapshot)
        for record in self.records:
            replay(state, record)
        self.begin_collector(state)
        kept = {request: count for request, count in before.items() if request not in self.deleted}
        assert self.counted().items() >= kept.items(), "a counter went backward"
        if data.draw(st.booleans()):
            self.queue.clear()

    def a_snapshot_is_taken(self, data: st.DataObject) -> None:
        if not self.drains:
            self.snapshot, self.records = list(write(capture(self.state, self.now))), []

    def the_collector_is_ready_or_not(self, data: st.DataObject) -> None:
        self.intake.ready = not self.intake.ready

    def time_passes(self, data: st.DataObject) -> None:
        """Ended senders are forgotten, but only when nothing of theirs is on its way any more."""
        self.now += 700.0
        if not self.queue:
            self.intake.senders.prune(self.now)

    def silence(self, data: st.DataObject) -> None:
        """All senders may give way now, whatever of theirs is on its way."""
        self.now += SILENT

    def all_is_quiet(self, data: st.DataObject) -> None:
        self.quiet()

    def quiet(self) -> None:
        """Let everything work until nothing is left to do, then compare."""
        self.intake.ready = True
        if not self.workers:
            self.spawn()
        rounds = 0
        while self.queue or self.spool.senders or self.spool.rows or any(worker.busy for worker in self.workers):
            rounds += 1
            assert rounds <= ROUNDS_TO_QUIET, "a sender is stuck"
            self.work()
        counted = self.counted()
        missing = set(range(self.requests)) - counted.keys() - self.may_be_lost - self.poisoned - self.deleted
        assert not missing, f"not counted: {missing}"
        assert not counted.keys() & self.poisoned
        assert not counted.keys() & self.surely_deleted

    def work(self) -> None:
        """One round in which nothing is lost on the line; who is still unacked after it takes it for overdue."""
        for worker in self.workers:
            self.now += SILENT  # whoever came before gives way
            self.inherit(worker)
            self.tick_worker(worker, retry=True)
            self.beat(worker)
            while self.queue:
                self.receive_one()
            self.end_drain()
        while self.drains:
            self.commit_one()
        while self.answers:
            answer, worker = self.answers.pop(0)
            self.hear(worker, answer)
        for worker in self.workers:
            for sender in worker.senders:
                if sender.batches:
                    sender.stall()

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        assert all(count == 1 for count in self.counted().values())

    @invariant()
    def each_is_under_its_name(self) -> None:
        for key, family in self.intake.table.families.items():
            assert {self.called[int(row.labels[0])] for row in family.rows} <= {key.instance}

    def teardown(self) -> None:
        self.quiet()


WireModel.TestCase.settings = settings(
    max_examples=examples(500),
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestWireModel = WireModel.TestCase


def test_an_heir_that_knows_less_than_the_collector_is_not_stuck() -> None:
    """The spool was full: the end of the sender was lost, but the collector acks more than its heir sent."""
    model = WireModel()
    model.first_workers()
    first = model.workers[0]
    first.rows += range(12)
    model.requests = 12
    for _ in range(2):
        model.tick_worker(first, retry=True)
        while model.queue:
            model.receive_one()
    model.end_drain()
    model.commit_one()
    model.answers.clear()
    model.workers.remove(first)
    model.end(first)
    assert [sorted(sender.batches) for sender in model.spool.senders] == [[1, 2, 3]]
    model.quiet()
    assert model.counted() == dict.fromkeys(range(12), 1)
