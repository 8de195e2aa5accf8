"""The store as a state machine: any interleaving of what processes and workers do, against a plain model.

The model keeps what should be there as lists; it knows nothing of indexes, pages or tokens. Replies get
lost: then the same call is made once more, at once or after others have done something (the contract asks
for nothing in between from the same connections only).
"""

import asyncio
import itertools
from collections import defaultdict
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from django_hub.events import (
    Joined,
    Left,
    Lost,
    Message,
    Resumed,
    Updated,
    describe,
    joined_body,
    left_body,
    lost_body,
    message_body,
    read_body,
    resumed_body,
    updated_body,
)
from django_hub.limits import Limits
from django_hub.stores.memory import MemoryStore
from django_hub.stores.memory_logs import Logs
from django_hub.stores.ops import (
    Commit,
    DeadLetter,
    Join,
    Lease,
    Leave,
    Lose,
    Outcome,
    Post,
    Publication,
    Update,
)

HUBS = ["garden", "hall"]
CLIENTS = ["ann", "bob", "cat"]
PROCESSES = ["p1", "p2", "p3"]
WORKERS = ["w1", "w2"]
CHANNELS = ["chat-events", "game-events"]

# Long times: what an example really takes must not count where the clock is a server's.
LIMITS = Limits(
    process_lease=30_000.0,
    hub_lease=20_000.0,
    ring_again=10_000.0,
    batch=2,
    mailbox=8,
    dead_letters=3,
    dead_letter_ttl=1e8,
    history_size=3,
    history_ttl=12_000.0,
)
GRACE = 12_000.0
# So many replaced connections a member remembers at least: no Join may be repeated later than that.
REMEMBERED = 8


@dataclass(eq=False)
class Connection:
    """A websocket, as its process sees it; where that joins again it is a new one of the same socket."""

    id: str
    socket: int
    hub: str
    client: str
    process: str
    at: float
    accepted: int = 0
    own: int = 0
    gone: bool = False
    was_member: bool = False
    replaced_since: int = 0
    session: str = ""
    mood: int = 0

    @property
    def key(self):
        return self.session or self.id

    @property
    def who(self):
        meta = {"connection": self.id, "socket": self.socket, "mood": self.mood}
        return describe(self.client, None, meta)

    def join(self, channel="hub-events", *, again=""):
        return Join(
            hub=self.hub,
            client_id=self.client,
            connection=self.id,
            process=self.process,
            events=channel,
            who=self.who,
            at=self.at,
            body=joined_body(self.who, self.at),
            again=again,
            posted=self.accepted,
            grace=GRACE if self.session else 0.0,
            resumed=resumed_body(self.who, self.at),
        )

    def post(self):
        number = self.accepted + 1
        body = message_body(self.who, self.at, str(number))
        return Post(hub=self.hub, client_id=self.client, connection=self.id, number=number, body=body)

    def post_own(self, number):
        body = message_body(self.who, self.at, str(-number))
        where = {"hub": self.hub, "client_id": self.client, "connection": self.id}
        return Post(**where, number=number, body=body, own=True)

    def leave(self):
        body = left_body(self.who, self.at, "close", 1000)
        return Leave(
            hub=self.hub, client_id=self.client, connection=self.id, process=self.process, body=body
        )

    def lose(self):
        body = lost_body(self.who, self.at, "read", 1006)
        return Lose(
            hub=self.hub, client_id=self.client, connection=self.id, process=self.process, body=body
        )

    def update(self):
        body = updated_body(self.who, self.at)
        return Update(hub=self.hub, client_id=self.client, connection=self.id, who=self.who, body=body)


@dataclass
class Member:
    connection: Connection
    posted: int
    past: list[Connection]
    who: str
    until: float | None = None
    in_grave: bool = False
    own: tuple[str, int] = ("", 0)
    sent: int = 0


@dataclass
class Log:
    epoch: str
    until: float
    seq: int = 0
    items: list[tuple[int, str]] = field(default_factory=list)
    items_until: float = 0.0


@dataclass
class Held:
    worker: str
    token: str
    until: float
    ring: str


@dataclass
class HubModel:
    """What should be in a hub. ``expected`` are groups of events: within one, any order will do."""

    events: str
    named: bool = False
    members: dict[str, Member] = field(default_factory=dict)
    known: list = field(default_factory=list)
    expected: list[list] = field(default_factory=list)
    held: Held | None = None
    rung: float = 0.0

    @property
    def waiting(self):
        return len(self.known) + sum(map(len, self.expected))


def in_short(event):
    connection = event.meta["connection"]
    match event:
        case Joined():
            return ("joined", connection)
        case Message():
            return ("message", connection, int(event.data))
        case Left():
            return ("left", connection, event.reason)
        case Lost():
            return ("lost", connection, event.reason)
        case Resumed():
            return ("resumed", connection)
        case Updated():
            return ("updated", connection, event.meta["mood"])


class StoreMachine(RuleBasedStateMachine):
    """The model and the store side by side; every answer of the one is compared with the other's."""

    def make_store(self):
        return MemoryStore(LIMITS, clock=lambda: self.now)

    def remains(self):
        """What the empty store still keeps in any of its indexes."""
        indexes = {
            name: value for name, value in vars(self.store).items() if isinstance(value, (dict, set, Logs))
        }
        return {name: index for name, index in indexes.items() if index}

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.now = 1_900_000_000.0
        self.store = self.make_store()
        self.ids = itertools.count(1)
        self.moments = itertools.count(1)
        self.connections = []
        self.hubs = {}
        self.newest = defaultdict(dict)
        self.processes = {}
        # What lost connections posted, while the store remembers it; and sockets it has forgotten.
        self.lost = {}
        self.forgotten = set()
        self.lives = {}
        self.past_lives = set()
        self.claims = []
        self.dead = defaultdict(list)
        self.last_position = defaultdict(int)
        self.handled = defaultdict(list)
        # Calls whose reply was lost, to be repeated; and the ids of those that wait for it.
        self.logs = {}
        self.epochs = set()
        self.items = itertools.count(1)
        self.unanswered = []
        self.busy = set()

    def ask(self, call):
        return self.runner.get_loop().run_until_complete(call)

    def advance(self, seconds):
        self.now += seconds

    def moment(self):
        """The time; later than any told before."""
        return self.now + 0.001 * next(self.moments)

    def was_repeated(self):
        """The last answer is that of a second call: the first one's reply was lost on its way."""
        return False

    def check_wakes(self, answer, expected):
        """A wake that was in a lost reply is not told again; `Store.unclaimed` brings it later."""
        assert set(answer) <= set(expected)
        if not self.was_repeated():
            assert sorted(answer) == sorted(expected)

    # The model's own steps

    def hub(self, name, channel):
        return self.hubs.setdefault(name, HubModel(channel))

    def put(self, name, *group, wakes):
        hub = self.hubs[name]
        if not hub.waiting:
            hub.rung = self.now
            ring = hub.held.ring if hub.held and hub.held.until > self.now else ""
            wakes.append((name, ring or hub.events))
        hub.expected.append(list(group))

    def remove(self, name, client):
        member = self.hubs[name].members.pop(client)
        del self.newest[client][name]
        return member

    def vanish_if_empty(self, name):
        hub = self.hubs[name]
        if not (hub.named or hub.members or hub.waiting or hub.held):
            del self.hubs[name]

    def outcome_of(self, op, replaced, wakes):
        hub = self.hubs.get(op.hub)
        member = hub.members.get(op.client_id) if hub else None
        if isinstance(op, Join):
            return self.outcome_of_join(op, member, replaced, wakes)
        if member is None:
            return Outcome.UNKNOWN if isinstance(op, (Post, Update)) else Outcome.DONE
        if member.connection.id != op.connection:
            return Outcome.REPLACED
        if isinstance(op, Leave):
            self.remove(op.hub, op.client_id)
            if member.connection.session:
                self.remember(member)
            self.put(op.hub, ("left", op.connection, "close"), wakes=wakes)
            return Outcome.DONE
        if isinstance(op, Lose):
            if member.until is None:
                member.until = self.now + (GRACE if member.connection.session else 0.0)
                self.put(op.hub, ("lost", op.connection, "read"), wakes=wakes)
            return Outcome.DONE
        if isinstance(op, Update):
            if member.who != op.who:
                member.who = op.who
                self.put(op.hub, ("updated", op.connection, member.connection.mood), wakes=wakes)
            return Outcome.DONE
        last = member.posted
        if op.own:
            last = member.own[1] if member.own[0] == op.connection else 0
        if op.number <= last:
            return Outcome.DONE
        if hub.waiting >= LIMITS.mailbox:
            return Outcome.FULL
        if op.own:
            member.own = op.connection, op.number
            self.put(op.hub, ("message", op.connection, -op.number), wakes=wakes)
            return Outcome.DONE
        member.posted = op.number
        self.put(op.hub, ("message", op.connection, op.number), wakes=wakes)
        return Outcome.DONE

    def outcome_of_join(self, op, member, replaced, wakes):
        chain = []
        (connection,) = (each for each in self.connections if each.id == op.connection)
        again = op.again if not connection.session else ""
        posted = max(op.posted, self.posted_by_lost(connection.key), self.posted_by_lost(again))
        if member is not None:
            chain = [*member.past, member.connection]
            ids = [connection.id for connection in chain]
            if op.connection in ids[-1 - REMEMBERED :]:
                index = ids.index(op.connection)
                if ids[-1 - REMEMBERED :].index(op.connection):
                    replaced.append((op.hub, chain[index - 1].process, ids[index - 1]))
                if op.connection != ids[-1]:
                    return Outcome.REPLACED
                resumed = index and connection.session and chain[index - 1].session == connection.session
                return Outcome.RESUMED if resumed else Outcome.DONE
            if op.again not in ("", member.connection.id):
                return Outcome.REPLACED
            if connection.session and connection.session == member.connection.session:
                replaced.append((op.hub, member.connection.process, member.connection.id))
                for each in chain:
                    each.replaced_since += 1
                connection.was_member = True
                member.connection, member.past, member.who = connection, chain, op.who
                member.posted = max(member.posted, op.posted)
                if op.again:
                    member.own = op.connection, member.own[1] if member.own[0] == op.again else 0
                member.until, member.in_grave = None, False
                self.newest[op.client_id][op.hub] = op.at
                self.processes.setdefault(op.process, self.now + LIMITS.process_lease)
                self.put(op.hub, ("resumed", op.connection), wakes=wakes)
                return Outcome.RESUMED
            if op.again:
                posted = max(posted, member.posted)
            self.remove(op.hub, op.client_id)
            if member.connection.session:
                self.remember(member)
            self.put(
                op.hub, ("left", member.connection.id, "lost" if op.again else "replaced"), wakes=wakes
            )
            replaced.append((op.hub, member.connection.process, member.connection.id))
            for each in chain:
                each.replaced_since += 1
        hub = self.hub(op.hub, op.events)
        if (connection.was_member or connection.session) and not self.posted_by_lost(connection.key):
            self.forgotten.add(connection.socket)
        connection.was_member = True
        hub.members[op.client_id] = Member(connection, posted, chain, op.who)
        self.newest[op.client_id][op.hub] = op.at
        self.processes.setdefault(op.process, self.now + LIMITS.process_lease)
        self.put(op.hub, ("joined", op.connection), wakes=wakes)
        return Outcome.DONE

    def posted_by_lost(self, connection):
        posted, until, socket = self.lost.get(connection, (0, 0.0, None))
        if until > self.now:
            return posted
        self.forgotten.add(socket)
        return 0

    def remember(self, member):
        if member.posted:
            connection = member.connection
            self.lost[connection.key] = member.posted, self.now + LIMITS.lost_ttl, connection.socket

    def check_batch(self, claim):
        """A batch is the oldest mail, in order; what was seen before is the same again."""
        hub = self.hubs[claim.hub]
        assert len(claim.batch) == min(hub.waiting, LIMITS.batch)
        for index, letter in enumerate(claim.batch):
            if index < len(hub.known):
                assert letter == hub.known[index]
                continue
            assert letter.position > self.last_position[claim.hub]
            self.last_position[claim.hub] = letter.position
            event = in_short(read_body(claim.hub, letter.position, letter.body))
            assert event in hub.expected[0]
            hub.expected[0].remove(event)
            if not hub.expected[0]:
                del hub.expected[0]
            hub.known.append(letter)

    # Clients

    def idle_connections(self, wanted=lambda connection: True):
        return [c for c in self.connections if not c.gone and c.id not in self.busy and wanted(c)]

    def may_replace_no_more(self, hub, client):
        """A Join whose reply was lost is repeated before so many others that it would be forgotten."""
        mates = (c for c in self.connections if (c.hub, c.client) == (hub, client))
        return any(c.id in self.busy and c.replaced_since >= REMEMBERED for c in mates)

    def apply(self, ops, lose):
        """Carry out ops; where the reply is lost, once more, now or later."""
        replaced, wakes = [], []
        expected = [self.outcome_of(op, replaced, wakes) for op in ops]
        answer = self.ask(self.store.apply(ops))
        assert answer.outcomes == expected
        assert [(hub, to.process, to.connection) for hub, to in answer.replaced] == replaced
        self.check_wakes(answer.wakes, wakes)
        if lose == "now":
            self.learn(ops, self.repeated(ops, replaced))
        elif lose == "later":
            self.unanswered.append(ops)
            self.busy.update(op.connection for op in ops)
        else:
            self.learn(ops, expected)

    def repeated(self, ops, first):
        """The second call changes nothing, and tells of those that the first one replaced again.

        Its outcomes are what the caller knows.
        """
        before = {name: hub.waiting for name, hub in self.hubs.items()}
        replaced, wakes = [], []
        expected = [self.outcome_of(op, replaced, wakes) for op in ops]
        answer = self.ask(self.store.apply(ops))
        assert answer.outcomes == expected
        assert answer.wakes == wakes == []
        assert [(hub, to.process, to.connection) for hub, to in answer.replaced] == replaced == first
        assert {name: hub.waiting for name, hub in self.hubs.items()} == before
        return answer.outcomes

    def learn(self, ops, outcomes):
        """What the owner of the connections concludes from the reply."""
        for op, outcome in zip(ops, outcomes, strict=True):
            (connection,) = (each for each in self.connections if each.id == op.connection)
            if isinstance(op, Leave) or outcome is Outcome.REPLACED:
                connection.gone = True
            elif isinstance(op, Post) and not op.own and outcome is Outcome.DONE:
                connection.accepted = op.number

    LOSE = st.sampled_from(["never", "never", "now", "later"])

    @rule(
        hub=st.sampled_from(HUBS),
        client=st.sampled_from(CLIENTS),
        process=st.sampled_from(PROCESSES),
        channel=st.sampled_from(CHANNELS),
        posts=st.integers(0, 2),
        session=st.booleans(),
        lose=LOSE,
    )
    def join(self, hub, client, process, channel, posts, session, lose):
        if self.may_replace_no_more(hub, client):
            return
        number = next(self.ids)
        name, of = (f"s{number}.c{number}", f"s{number}") if session else (f"c{number}", "")
        connection = Connection(name, number, hub, client, process, self.moment(), session=of)
        self.connections.append(connection)
        ops = [connection.join(channel)]
        for number in range(1, posts + 1):
            connection.accepted = number - 1
            ops.append(connection.post())
        connection.accepted = 0
        self.apply(ops, lose)

    @precondition(lambda self: self.idle_connections())
    @rule(data=st.data(), lose=LOSE)
    def post(self, data, lose):
        some = data.draw(
            st.lists(st.sampled_from(self.idle_connections()), min_size=1, max_size=3, unique=True)
        )
        self.apply([connection.post() for connection in some], lose)

    @precondition(lambda self: self.idle_connections(lambda connection: connection.session))
    @rule(data=st.data(), lose=LOSE, repeat=st.booleans())
    def post_one_of_its_own(self, data, lose, repeat):
        """The application does so, beside what the client sends."""
        connection = data.draw(st.sampled_from(self.idle_connections(lambda each: each.session)))
        connection.own += not (repeat and connection.own)
        self.apply([connection.post_own(connection.own)], lose)

    @precondition(lambda self: self.idle_connections())
    @rule(data=st.data(), lose=LOSE)
    def post_an_old_message_again(self, data, lose):
        connection = data.draw(st.sampled_from(self.idle_connections()))
        if connection.accepted:
            connection.accepted -= 1
            op = connection.post()
            connection.accepted += 1
            self.apply([op], lose)

    @precondition(lambda self: self.idle_connections())
    @rule(data=st.data(), lose=LOSE)
    def leave(self, data, lose):
        some = data.draw(
            st.lists(st.sampled_from(self.idle_connections()), min_size=1, max_size=2, unique=True)
        )
        self.apply([connection.leave() for connection in some], lose)

    @precondition(lambda self: len(self.idle_connections()) > 1)
    @rule(data=st.data(), lose=LOSE)
    def one_posts_while_another_leaves(self, data, lose):
        one, other = data.draw(
            st.lists(st.sampled_from(self.idle_connections()), min_size=2, max_size=2, unique=True)
        )
        self.apply([one.post(), other.leave()], lose)

    @precondition(lambda self: self.idle_connections())
    @rule(data=st.data(), lose=LOSE)
    def join_again(self, data, lose):
        """A process does so for its clients when its beat, or a post, finds them unknown."""
        old = data.draw(st.sampled_from(self.idle_connections()))
        if self.may_replace_no_more(old.hub, old.client):
            return
        old.gone = True
        self.apply([self.anew(old).join(again=old.id)], lose)

    def anew(self, old, **changes):
        """A connection that goes on where another one was."""
        name = f"{old.session}.c{next(self.ids)}" if old.session else f"c{next(self.ids)}"
        fresh = {"at": self.moment(), "gone": False, "was_member": False, "replaced_since": 0}
        connection = replace(old, id=name, **fresh, **changes)
        self.connections.append(connection)
        return connection

    def sessions(self):
        """The newest connection of each session that waits for no reply."""
        newest = {connection.session: connection for connection in self.connections if connection.session}
        busy = {connection.session for connection in self.connections if connection.id in self.busy}
        return [connection for session, connection in newest.items() if session not in busy]

    @precondition(lambda self: self.sessions())
    @rule(data=st.data(), process=st.sampled_from(PROCESSES), lose=LOSE)
    def come_back(self, data, process, lose):
        old = data.draw(st.sampled_from(self.sessions()))
        if self.may_replace_no_more(old.hub, old.client):
            return
        old.gone = True
        self.apply([self.anew(old, process=process).join()], lose)

    @precondition(lambda self: self.idle_connections())
    @rule(data=st.data(), lose=LOSE)
    def lose(self, data, lose):
        self.apply([data.draw(st.sampled_from(self.idle_connections())).lose()], lose)

    @precondition(lambda self: self.idle_connections())
    @rule(data=st.data(), lose=LOSE)
    def update(self, data, lose):
        connection = data.draw(st.sampled_from(self.idle_connections()))
        connection.mood += 1
        self.apply([connection.update()], lose)

    # Logs

    @rule(
        to=st.lists(
            st.sampled_from([(hub, client) for hub in HUBS for client in ("", *CLIENTS)]), min_size=1
        ),
        repeat=st.booleans(),
    )
    def publish(self, to, repeat):
        publications = [
            Publication(hub=hub, client_id=client, id=f"i{number}", item=f"item {number}")
            for (hub, client), number in zip(to, self.items, strict=False)
        ]
        answer = self.ask(self.store.publish(publications))
        for publication, number in zip(publications, answer, strict=True):
            member = (
                self.hubs[publication.hub].members.get(publication.client_id)
                if (publication.hub in self.hubs)
                else None
            )
            if publication.client_id and member is None:
                assert number is None
                continue
            log = self.log(publication.hub, number.epoch)
            if member is not None:
                member.sent += 1
                assert number.seq == member.sent
                continue
            log.seq += 1
            assert number.seq == log.seq
            log.items = [*self.kept(log), (log.seq, publication.item)][-LIMITS.history_size :]
            log.items_until = self.now + LIMITS.history_ttl
        if repeat and len(to) <= LIMITS.history_size:
            again = [replace(publication, again=True) for publication in publications]
            assert self.ask(self.store.publish(again)) == answer

    @rule(name=st.sampled_from(HUBS), after=st.integers(0, 5))
    def look_into_a_log(self, name, after):
        history = self.ask(self.store.history(name, after))
        known = self.logs.get(name)
        if known is not None and known.until > self.now and after > known.seq:
            # Put back to an earlier state, for all that the store can tell.
            del self.logs[name]
        log = self.log(name, history.epoch)
        assert history.seq == log.seq
        assert list(history.items) == [entry for entry in self.kept(log) if entry[0] > after]

    @rule()
    def keep_logs(self):
        there = {name: log for name, log in self.logs.items() if log.until > self.now}
        positions = self.ask(self.store.positions(HUBS))
        found = {name: (number.epoch, number.seq) for name, number in positions.items()}
        assert found == {name: (log.epoch, log.seq) for name, log in there.items()}
        for name, log in there.items():
            self.log(name, log.epoch)

    def log(self, name, epoch):
        """The log that is there, or begins, and goes on being known."""
        log = self.logs.get(name)
        if log is None or log.until <= self.now:
            assert epoch not in self.epochs
            self.epochs.add(epoch)
            log = self.logs[name] = Log(epoch, 0.0)
        assert log.epoch == epoch
        log.until = self.now + LIMITS.log_ttl(LIMITS.history_ttl)
        return log

    def kept(self, log):
        return log.items if log.items_until > self.now else []

    @precondition(lambda self: self.unanswered)
    @rule(data=st.data())
    def repeat_a_call_whose_reply_was_lost(self, data):
        ops = self.unanswered.pop(data.draw(st.integers(0, len(self.unanswered) - 1)))
        replaced, wakes = [], []
        expected = [self.outcome_of(op, replaced, wakes) for op in ops]
        answer = self.ask(self.store.apply(ops))
        assert answer.outcomes == expected
        assert [(hub, to.process, to.connection) for hub, to in answer.replaced] == replaced
        self.check_wakes(answer.wakes, wakes)
        self.busy.difference_update(op.connection for op in ops)
        self.learn(ops, expected)

    # Processes

    @rule(process=st.sampled_from(PROCESSES), repeat=st.booleans())
    def beat(self, process, repeat):
        self.processes[process] = self.now + LIMITS.process_lease
        for _ in range(1 + repeat):
            life = self.ask(self.store.beat(process))
            assert (process, life) not in self.past_lives
            assert self.lives.setdefault(process, life) == life

    @rule(repeat=st.booleans())
    def reap(self, repeat):
        wakes = []
        dead = {process for process, until in self.processes.items() if until <= self.now}
        for process in dead:
            del self.processes[process]
            self.past_lives.add((process, self.lives.pop(process, None)))
        for name, hub in self.hubs.items():
            told = []
            for client, member in list(hub.members.items()):
                member.in_grave = member.in_grave or member.connection.process in dead
                if not member.in_grave:
                    continue
                if member.until is None and member.connection.session:
                    member.until = self.now + GRACE
                    told.append(("lost", member.connection.id, "lost"))
                elif member.until is None or member.until <= self.now:
                    self.remove(name, client)
                    self.remember(member)
                    told.append(("left", member.connection.id, "lost"))
            if told:
                self.put(name, *told, wakes=wakes)
        for name, hub in list(self.hubs.items()):
            # Nothing but a dead holder keeps it.
            if hub.held and hub.held.until <= self.now and not (hub.named or hub.members or hub.waiting):
                del self.hubs[name]
        self.check_wakes(self.ask(self.store.reap()), wakes)
        if repeat:
            assert self.ask(self.store.reap()) == []

    @rule(seconds=st.sampled_from([1_000, 5_000, 10_000, 20_000, 31_000]))
    def let_time_go_by(self, seconds):
        self.advance(seconds)

    # Workers

    @rule(
        hubs=st.lists(st.sampled_from(HUBS), min_size=1, unique=True),
        worker=st.sampled_from(WORKERS),
        ring=st.sampled_from(["", "", "my-bell", "my-other-bell"]),
        repeat=st.booleans(),
    )
    def claim(self, hubs, worker, ring, repeat):
        answers = self.ask(self.store.claim(hubs, worker, ring))
        assert [answer.hub for answer in answers] == hubs
        for answer in answers:
            hub = self.hubs.get(answer.hub)
            held = hub.held if hub else None
            if (
                not hub
                or not (hub.waiting or ring)
                or (held and held.worker != worker and held.until > self.now)
            ):
                assert answer.lease is Lease.FREE
                assert (answer.token, answer.batch) == ("", ())
                continue
            assert answer.lease is Lease.HELD
            if held and held.worker == worker:
                assert answer.token == held.token
            else:
                assert answer.token not in {earlier.token for _, earlier in self.claims}
            hub.held = Held(worker, answer.token, self.now + LIMITS.hub_lease, ring)
            self.check_batch(answer)
            self.claims.append((worker, answer))
        if repeat:
            assert self.ask(self.store.claim(hubs, worker, ring)) == answers

    @precondition(lambda self: self.claims)
    @rule(
        data=st.data(),
        repeat=st.booleans(),
        release=st.booleans(),
        fail=st.booleans(),
    )
    def commit(self, data, repeat, release, fail):
        """By one that has the lease, or had it: a worker can be late by any time."""
        newest_first = list(range(len(self.claims) - 1, -1, -1))
        worker, claim = self.claims[data.draw(st.sampled_from(newest_first))]
        done = data.draw(st.integers(0, len(claim.batch)))
        position = claim.batch[done - 1].position if done else 0
        letters = [DeadLetter(hub=claim.hub, position=position, body="", error="", at=self.now)] * (
            done > 0 and fail
        )
        commit = Commit(claim.hub, claim.token, position, tuple(letters), release)
        for _ in range(1 + repeat):
            self.check_commit(worker, commit)

    def check_commit(self, worker, commit):
        (answer,) = self.ask(self.store.commit([commit]))
        hub = self.hubs.get(commit.hub)
        if hub is None or hub.held is None or hub.held.token != commit.token:
            assert (answer.lease, answer.batch) == (Lease.LOST, ())
            return
        done = [letter for letter in hub.known if letter.position <= commit.position]
        hub.known = hub.known[len(done) :]
        for letter in done:
            self.handled[commit.hub].append(read_body(commit.hub, letter.position, letter.body))
        if done:
            self.dead[commit.hub] = (self.dead[commit.hub] + list(commit.dead))[-LIMITS.dead_letters :]
        if commit.release or not (hub.waiting or hub.held.ring):
            hub.held = None
            hub.rung = 0.0
            assert answer.lease is Lease.FREE or (self.was_repeated() and answer.lease is Lease.LOST)
            assert answer.batch == ()
            self.vanish_if_empty(commit.hub)
            return
        hub.held.until = self.now + LIMITS.hub_lease
        assert (answer.lease, answer.token) == (Lease.HELD, commit.token)
        self.check_batch(answer)
        self.claims.append((worker, answer))

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), repeat=st.booleans())
    def renew(self, data, repeat):
        leases = data.draw(
            st.lists(
                st.sampled_from(sorted({(c.hub, c.token) for _, c in self.claims})), min_size=1, max_size=3
            )
        )
        expected = []
        for name, token in leases:
            hub = self.hubs.get(name)
            ours = hub is not None and hub.held is not None and hub.held.token == token
            if ours:
                hub.held.until = self.now + LIMITS.hub_lease
            expected.append(ours)
        for _ in range(1 + repeat):
            assert self.ask(self.store.renew(leases)) == expected

    @rule(repeat=st.booleans())
    def look_for_unclaimed_mail(self, repeat):
        expected = []
        for name, hub in self.hubs.items():
            free = hub.held is None or hub.held.until <= self.now
            if hub.waiting and free and hub.rung <= self.now - LIMITS.ring_again:
                hub.rung = self.now
                expected.append((name, hub.events))
        self.check_wakes(self.ask(self.store.unclaimed()), expected)
        if repeat:
            assert self.ask(self.store.unclaimed()) == []

    # Hubs

    @rule(name=st.sampled_from(HUBS), channel=st.none() | st.sampled_from(CHANNELS), repeat=st.booleans())
    def create(self, name, channel, repeat):
        hub = self.hub(name, channel or "hub-events")
        hub.named = True
        hub.events = channel or hub.events
        for _ in range(1 + repeat):
            record = self.ask(self.store.create(name, channel))
            assert (record.name, record.events, record.named) == (name, hub.events, True)

    @rule(name=st.sampled_from(HUBS))
    def destroy(self, name):
        there = name in self.hubs
        if there:
            self.hubs[name].named = False
            self.vanish_if_empty(name)
        assert self.ask(self.store.destroy(name)) is there or self.was_repeated()

    # What holds at any time

    @invariant()
    def hubs_are_those_with_a_name_members_or_mail(self):
        records = self.ask(self.store.hubs(most=1)) + self.ask(self.store.hubs(after=HUBS[0]))
        found = {record.name: (record.events, record.named) for record in records}
        assert found == {name: (hub.events, hub.named) for name, hub in self.hubs.items()}
        for name in HUBS:
            assert bool(self.ask(self.store.hub(name))) == (name in self.hubs)

    @invariant()
    def members_and_counts_are_right(self):
        for name in HUBS:
            expected = self.hubs[name].members if name in self.hubs else {}
            members = self.ask(self.store.members(name))
            assert [(m.client_id, m.connection, m.process, m.state) for m in members] == [
                (
                    client,
                    expected[client].connection.id,
                    expected[client].connection.process,
                    "online" if expected[client].until is None else "lost",
                )
                for client in sorted(expected)
            ]
            assert self.ask(self.store.count(name)) == len(expected)
            for client in CLIENTS:
                member = self.ask(self.store.member(name, client))
                assert (member and member.connection) == (
                    expected[client].connection.id if client in expected else None
                )

    @invariant()
    def the_newest_member_of_an_id_is_found(self):
        for client in CLIENTS:
            found = self.ask(self.store.find(client))
            hubs = self.newest[client]
            assert (found and found.hub) == max(hubs, key=hubs.get, default=None)

    @invariant()
    def waiting_counts_the_hubs_with_mail(self):
        assert self.ask(self.store.waiting()) == sum(hub.waiting > 0 for hub in self.hubs.values())

    @invariant()
    def dead_letters_are_kept(self):
        for name in HUBS:
            assert self.ask(self.store.dead_letters(name)) == self.dead[name]

    # The end: all servers die, a worker handles what is left, and nothing remains

    def teardown(self):
        try:
            while self.unanswered:
                self.repeat_the_last()
            self.advance(LIMITS.process_lease + 1)
            self.reap(repeat=True)
            self.advance(GRACE + 1)
            self.reap(repeat=True)
            for name in HUBS:
                self.handle_all(name)
                self.destroy(name)
                assert self.ask(self.store.drop_dead_letters(name)) == len(self.dead[name])
            assert not self.hubs
            self.advance(LIMITS.lost_ttl)
            self.reap(repeat=False)
            self.look_for_unclaimed_mail(repeat=False)
            assert self.remains() == {}
            for name in HUBS:
                note(f"{name}: {[in_short(event) for event in self.handled[name]]}")
                self.check_story(self.handled[name])
            for connection in self.connections:
                self.check_messages(connection, self.handled[connection.hub])
        finally:
            self.ask(self.store.close())
            self.runner.close()

    def repeat_the_last(self):
        ops = self.unanswered.pop()
        expected = [self.outcome_of(op, [], []) for op in ops]
        assert self.ask(self.store.apply(ops)).outcomes == expected

    def handle_all(self, name):
        """As a worker that holds the hub until nothing comes any more, and then lets go."""
        self.advance(LIMITS.hub_lease + 1)
        if name not in self.hubs:
            return
        self.claim([name], "the last worker", "my-bell", repeat=False)
        worker, claim = self.claims[-1]
        while self.hubs[name].waiting:
            letters = self.hubs[name].known
            self.check_commit(worker, Commit(name, claim.token, letters[-1].position))
        self.check_commit(worker, Commit(name, claim.token, 0, release=True))

    def check_story(self, events):
        """What the handlers of one hub have seen, from its first event to its last, by itself."""
        inside = {}
        ids = [event.id for event in events]
        assert ids == sorted(set(ids))
        for event in events:
            connection = event.meta["connection"]
            match event:
                case Joined():
                    # One connection at a time has an id.
                    assert event.client_id not in inside
                    inside[event.client_id] = connection
                case Resumed():
                    assert event.client_id in inside
                    inside[event.client_id] = connection
                case Message() | Lost() | Updated():
                    assert inside[event.client_id] == connection
                case Left():
                    assert inside.pop(event.client_id) == connection
        assert not inside

    def check_messages(self, connection, events):
        """Of each socket: its messages in order, none lost, and none twice.

        Some stand twice where a reply was lost, the connection was declared dead, or replaced by one that
        left, before the call was repeated, and the store has forgotten it since.
        """
        last, came_back = 0, False
        for event in events:
            if event.meta["socket"] != connection.socket:
                continue
            if isinstance(event, Joined):
                came_back = connection.socket in self.forgotten
            elif isinstance(event, Message) and int(event.data) > 0:
                number = int(event.data)
                assert number == last + 1 or (came_back and number <= last)
                last, came_back = number, False
        assert last >= connection.accepted


TestStoreMachine = pytest.mark.timeout(300)(StoreMachine.TestCase)
TestStoreMachine.settings = settings(stateful_step_count=60)
