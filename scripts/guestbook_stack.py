"""What the demo and the benchmark share: stacks of the guestbook, a source, the client, writers. Python 3.9+,
standard library only."""

import contextlib
import functools
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
CLIENT = Path(os.environ.get("CLIENT", HOME / "target/release/client"))
SERVICES = ["web", "api", "worker", "db"]


class Broken(Exception):
    """Something is not as promised; the text says what."""


def expect(promise, kept):
    """Raises `Broken` unless the promise is kept."""
    if not kept:
        raise Broken(promise)


def run(*command, **options):
    """Runs a command that has to work; its standard output."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise Broken(f"`{' '.join(map(str, command))}` ended with {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout


def free_port():
    """A TCP port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stack_folder(version, folder, port):
    """Lays out a release in `folder`; its web front gets `port`."""
    run(HOME / "scripts/guestbook-release", version, folder)
    env = folder / ".env"
    env.write_text(re.sub(r"(?m)^WEB_PORT=.*$", f"WEB_PORT={port}", env.read_text()))
    return folder


@contextlib.contextmanager
def scratch():
    """A temporary folder that is gone at the end. Containers may have left files of root in it."""
    folder = Path(tempfile.mkdtemp(prefix="guestbook-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists() and shutil.which("sudo"):
            subprocess.run(["sudo", "rm", "-rf", str(folder)], check=False)
        if folder.exists():
            print(f"could not remove {folder}; remove it by hand", file=sys.stderr)


def remove_project(project):
    """Removes every container, network and volume of a Compose project, and the names that pin its images."""
    mine = f"label=com.docker.compose.project={project}"
    for kind, remove in (
        (["ps", "--all"], ["rm", "--force", "--volumes"]),
        (["network", "ls"], ["network", "rm"]),
        (["volume", "ls"], ["volume", "rm", "--force"]),
    ):
        found = run("docker", *kind, "--quiet", "--filter", mine).split()
        if found:
            run("docker", *remove, *found)
    pins = run(
        "docker", "images", "--filter", f"reference=compose-upgrade.pin/{project}", "--format", "{{.Repository}}:{{.Tag}}"
    ).split()
    if pins:
        run("docker", "rmi", "--force", *pins)


def containers(project):
    """The ID of every service's running container."""
    lines = run(
        "docker", "ps", "--no-trunc", "--filter", f"label=com.docker.compose.project={project}",
        "--format", '{{.Label "com.docker.compose.service"}} {{.ID}}',
    )
    return dict(line.split() for line in lines.splitlines())


class Result:
    """How a run of the client ended."""

    def __init__(self, exit_code, body, seconds):
        self.exit_code = exit_code
        self.seconds = seconds
        self.ok = body["ok"]
        self.strategy = body["strategy"]
        self.reason = body["reason"]
        self.rolled_back_to = body["rolled_back_to"]
        self.downtime_ms = body["downtime_ms"]
        self.bytes_downloaded = body["bytes_downloaded"]
        self.bytes_bundle = body["bytes_bundle"]
        self.error = body["error"]


def client(root, *arguments, on_event=lambda event: None):
    """Runs a command of the client that changes the stack; its result, whether good or bad."""
    command = [str(CLIENT), "--root", str(root), "--lang", "en", "--progress", "json", *map(str, arguments)]
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as talk:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=talk, text=True)
        last = {}
        try:
            for line in process.stdout:
                last = json.loads(line)
                on_event(last)
            exit_code = process.wait()
        except ValueError as error:
            raise Broken(f"`{' '.join(command)}` printed something that is not JSON: {line!r}") from error
        finally:
            # On the way out of an interruption nobody may go on changing what is about to be removed.
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait()
        seconds = time.monotonic() - began
        talk.seek(0)
        if last.get("kind") != "result":
            raise Broken(f"`{' '.join(command)}` ended with {exit_code} and no result:\n{talk.read().strip()}")
    return Result(exit_code, last, seconds)


class Source:
    """A static web server over a folder, with what resuming needs: Range, ETag and If-Range."""

    def __init__(self, folder):
        handler = functools.partial(_RangeHandler, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


class _RangeHandler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._serve(body=True)

    def do_HEAD(self):
        self._serve(body=False)

    def _serve(self, body):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            etag = f'"{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}"'
            first, last, partial = 0, facts.st_size - 1, False
            wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            if wanted and wanted[0] != "bytes=-" and self.headers.get("If-Range", etag) == etag:
                partial = True
                if not wanted[1]:
                    first = max(0, facts.st_size - int(wanted[2]))
                else:
                    first = int(wanted[1])
                    last = min(last, int(wanted[2] or last))
                if first > last:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{facts.st_size}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
            self.send_response(206 if partial else 200)
            if partial:
                self.send_header("Content-Range", f"bytes {first}-{last}/{facts.st_size}")
            self.send_header("Content-Length", str(last - first + 1))
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", etag)
            self.send_header("Last-Modified", self.date_time_string(int(facts.st_mtime)))
            self.end_headers()
            if body:
                self._copy(file, first, last - first + 1)

    def _copy(self, file, first, left):
        file.seek(first)
        while left:
            piece = file.read(min(left, 1 << 18))
            if not piece:
                raise ConnectionAbortedError("the file became shorter while it was sent")
            self.wfile.write(piece)
            left -= len(piece)

    def log_message(self, *_):
        pass


def get(port, path, timeout=10.0):
    """The JSON that the guestbook answers to a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        expect(f"{path} answers with 200, not {answer.status}", answer.status == 200)
        return json.loads(body)
    except (OSError, http.client.HTTPException) as error:
        raise Broken(f"{path} does not answer: {error!r}") from error
    finally:
        connection.close()


class Writer:
    """Signs the guestbook without pause, and remembers what was acknowledged and when."""

    def __init__(self, port):
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self.acknowledged = []
        self.failed = 0
        self._longest_gap = 0.0
        self._last = None

    def __enter__(self):
        self._last = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def longest_gap(self):
        """The longest time without an acknowledgement since the last call, in seconds."""
        gap, self._longest_gap = self._longest_gap, 0.0
        return gap

    def _write(self):
        number = 0
        while not self._stop.wait(0.02):
            number += 1
            text = f"entry number {number}"
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
                try:
                    connection.request("POST", "/api/entries", json.dumps({"author": "demo", "text": text}))
                    written = connection.getresponse().status == 201
                finally:
                    connection.close()
            except (OSError, http.client.HTTPException):
                written = False
            if not written:
                self.failed += 1
                continue
            now = time.monotonic()
            self._longest_gap = max(self._longest_gap, now - self._last)
            self._last = now
            self.acknowledged.append(text)

    def missing(self):
        """Acknowledged entries that the guestbook no longer has."""
        acknowledged = list(self.acknowledged)
        present = {entry["text"] for entry in get(self._port, "/api/entries?limit=10000000")["entries"]}
        return [text for text in acknowledged if text not in present]


def mib(count):
    """Bytes for people."""
    return f"{count / 1048576:.1f} MiB" if count >= 104858 else f"{count / 1024:.1f} KiB"


def table(header, rows):
    """Columns of text, each as wide as it must be."""
    widths = [max(len(str(row[column])) for row in [header, *rows]) for column in range(len(header))]
    lines = ["  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [header, *rows]]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])
