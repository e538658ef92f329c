"""Serve one unpacked model artifact from several worker processes.

`confined.py` runs this file by path, isolated. It imports only the standard library, so that score.py cannot import the
emulator or the project around it by accident.

The first line on stdin is a JSON object: `folder` (the unpacked artifact, which becomes the current directory),
`socket` (the path of the Unix socket to listen on), `workers` and `threads` (the number of processes, and of threads in
each), `environment` (variables) and `log` (the file for the output of score.py). At end of file on stdin the server
stops, so that it never outlives the emulator. It writes one JSON line to stdout: `{"event": "ready", "unconfined":
[...]}`, with what this platform does not confine, or `{"event": "failed", "message": ..., "traceback": ...}`.
"""

import contextlib
import importlib
import inspect
import json
import os
import queue
import select
import signal
import socket
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

RESTART_SECONDS = 0.5
Predict = Callable[[Any], Any]


class BadRequestError(Exception):
    """The request's body does not match its content type."""


class Master:
    """Forks the workers, replaces dead ones, and stops all at end of file on stdin."""

    def __init__(self, spec: dict[str, Any], report: Callable[..., None], unconfined: Sequence[str]) -> None:
        """Listen on the socket; the workers accept connections after they have loaded the model."""
        self.spec = spec
        self.report = report
        self.unconfined = unconfined
        Path(spec["socket"]).unlink(missing_ok=True)  # left by a killed server
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(spec["socket"])
        self.listener.listen(1024)
        # Workers read from this pipe, which the master never writes to: it ends when the master dies.
        self.life, self._life_writer = os.pipe()
        self.workers: dict[int, int] = {}
        self.messages: dict[int, bytes] = {}
        self.ready: set[int] = set()
        self.restarts: list[float] = []
        self.started = False

    def run(self) -> None:
        """Serve until stdin ends, or until a worker fails before all are ready."""
        try:
            for _ in range(self.spec["workers"]):
                self._fork()
            while self._watch():
                self._restart_due()
        finally:
            self._stop()

    def _watch(self) -> bool:
        timeout = max(0.0, min(self.restarts) - time.monotonic()) if self.restarts else None
        readable, _, _ = select.select([0, *self.workers], [], [], timeout)
        if 0 in readable:
            return False
        results = [self._read_message(pipe) for pipe in readable]
        return all(results)

    def _read_message(self, pipe: int) -> bool:
        """Read from a worker; return False if the model cannot be served."""
        data = os.read(pipe, 65536)
        self.messages[pipe] += data
        if not data:
            return self._reap(pipe)
        if not self.messages[pipe].endswith(b"\n"):
            return True
        message = json.loads(self.messages[pipe])
        if message["event"] == "ready":
            self.ready.add(pipe)
            self._announce()
            return True
        if not self.started:
            self.report(**message)
        return self.started

    def _announce(self) -> None:
        if not self.started and len(self.ready) == self.spec["workers"]:
            self.started = True
            self.report(event="ready", unconfined=list(self.unconfined))

    def _reap(self, pipe: int) -> bool:
        os.close(pipe)
        _, status = os.waitpid(self.workers.pop(pipe), 0)
        self.ready.discard(pipe)
        del self.messages[pipe]
        ended = f"A worker of the model server ended with code {os.waitstatus_to_exitcode(status)}"
        print(f"{ended}.", file=sys.stderr)  # noqa: T201 - stderr is this server's log
        if not self.started:
            self.report(event="failed", message=f"{ended} while it loaded score.py.", traceback="")
            return False
        self.restarts.append(time.monotonic() + RESTART_SECONDS)
        return True

    def _restart_due(self) -> None:
        now = time.monotonic()
        for moment in [moment for moment in self.restarts if moment <= now]:
            self.restarts.remove(moment)
            self._fork()

    def _fork(self) -> None:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            # An open copy here would hide the master's death from the other workers.
            os.close(self._life_writer)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            run_worker(self.listener, self.spec, self.life, writer)
        os.close(writer)
        self.workers[reader] = pid
        self.messages[reader] = b""

    def _stop(self) -> None:
        for pid in self.workers.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        Path(self.spec["socket"]).unlink(missing_ok=True)


def run_worker(listener: socket.socket, spec: dict[str, Any], life: int, report: int) -> NoReturn:
    """Load the model, report it, and answer requests until the master dies."""
    try:
        predict = load_predict(Path(spec["folder"]))
    except BaseException as err:  # noqa: BLE001 - anything that score.py raises is reported
        write_line(report, event="failed", message=f"{type(err).__name__}: {err}", traceback=traceback.format_exc())
        os._exit(1)
    threading.Thread(target=accept_forever, args=(listener, predict, spec["threads"]), daemon=True).start()
    write_line(report, event="ready")
    os.read(life, 1)
    os._exit(0)


def write_line(pipe: int, **message: Any) -> None:
    """Write one JSON line."""
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(pipe, data) :]


def load_predict(folder: Path) -> Predict:
    """Import score.py and load its model; return its predict() as a function of the data alone."""
    sys.path.insert(0, str(folder))
    score = importlib.import_module("score")
    for name in ("load_model", "predict"):
        if not callable(getattr(score, name, None)):
            raise TypeError(f"score.py has no function {name}()")
    model = inspect.signature(score.predict).parameters.get("model")
    # `model=load_model()` loads at import of score.py; otherwise load here, so that a failure shows now.
    if model is None or model.default in (None, inspect.Parameter.empty):
        loaded = score.load_model()
        if model is not None:
            return lambda data: score.predict(data, model=loaded)
    return lambda data: score.predict(data)


def accept_forever(listener: socket.socket, predict: Predict, threads: int) -> None:
    """Accept connections while a thread is free; otherwise leave them to the other workers.

    Only one thread of each worker accepts: the kernel wakes waiting threads in turn, so that workers share requests.
    """
    free = threading.Semaphore(threads)
    accepted: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
    for _ in range(threads):
        threading.Thread(target=answer_forever, args=(accepted, predict, free), daemon=True).start()
    while True:
        free.acquire()
        accepted.put(listener.accept()[0])


def answer_forever(accepted: "queue.SimpleQueue[socket.socket]", predict: Predict, free: threading.Semaphore) -> None:
    """Answer connections one after the other."""
    while True:
        connection = accepted.get()
        try:
            with connection, contextlib.suppress(OSError):  # the caller has disconnected
                answer(connection, predict)
        finally:
            free.release()


def answer(connection: socket.socket, predict: Predict) -> None:
    """Read one HTTP request, run predict() on its body and send the response; the connection ends with it."""
    with connection.makefile("rb") as stream:
        headers = read_headers(stream)
        length = int(headers.get("content-length", 0))
        body = stream.read(length)
    if len(body) < length:
        return  # the caller has disconnected
    status, content = respond(predict, body, headers.get("content-type", ""))
    start = f"HTTP/1.1 {status} {'OK' if status == 200 else 'Error'}\r\ncontent-type: application/json\r\n"
    connection.sendall(f"{start}content-length: {len(content)}\r\n\r\n".encode() + content)


def read_headers(stream: BinaryIO) -> dict[str, str]:
    """Read a request up to its empty line; return its headers by name in lower case."""
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return headers


def respond(predict: Predict, body: bytes, content_type: str) -> tuple[int, bytes]:
    """Run predict() on the body; return the status and the body of the response."""
    try:
        result = predict(parse(body, content_type))
        return 200, json.dumps(result, ensure_ascii=False, allow_nan=False).encode()
    except BadRequestError as err:
        return 400, error("CannotParseRequest", str(err))
    except BaseException as err:  # noqa: BLE001 - anything that score.py raises becomes a 500
        traceback.print_exc()
        return 500, error("InternalServerError", f"predict() in score.py raised {type(err).__name__}: {err}")


def parse(body: bytes, content_type: str) -> Any:
    """Return the object in a JSON body, the text of a text body, or else the bytes."""
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            return json.loads(body)
        return body.decode() if kind.startswith("text/") else body
    except (ValueError, RecursionError) as err:
        raise BadRequestError(f"The body is not {kind}: {err}") from err


def error(code: str, message: str) -> bytes:
    """Return OCI's form of an error."""
    return json.dumps({"code": code, "message": message}).encode()


def isolate() -> None:
    """Remove from the import path what a `.pth` file or an editable installation has added."""
    roots = [Path(root).resolve() for root in (sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"))]
    sys.path[:] = [
        entry for entry in sys.path if entry and any(Path(entry).resolve().is_relative_to(root) for root in roots)
    ]
    sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in _origin(finder)]


def _origin(finder: object) -> str:
    return getattr(finder, "__module__", "") or type(finder).__module__


def main(unconfined: Sequence[str]) -> None:
    """Read the specification from stdin and serve; report what is not confined."""
    line = sys.stdin.readline()
    if not line:  # a spare process that is not needed
        return
    spec = json.loads(line)
    os.environ.update(spec["environment"])
    report = os.dup(1)
    log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    isolate()
    os.chdir(spec["folder"])
    Master(spec, lambda **message: write_line(report, **message), unconfined).run()
