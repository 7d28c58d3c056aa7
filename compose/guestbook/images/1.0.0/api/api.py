"""The guestbook's HTTP API: JSON in, JSON out, PostgreSQL behind it."""

import json
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import health
import store

VERSION = (Path(__file__).parent / "VERSION").read_text().strip()


class Handler(BaseHTTPRequestHandler):
    """GET /health, /version, /entries; POST /entries."""

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/health":
            well = health.is_well()
            self.answer(200 if well else 503, {"status": "ok" if well else "unwell", "version": VERSION})
        elif url.path == "/version":
            self.answer(200, {"version": VERSION})
        elif url.path == "/entries":
            limit = parse_qs(url.query).get("limit", ["20"])[0]
            if not limit.isdigit():
                self.answer(400, {"error": "limit must be a number"})
                return
            self.from_store(200, lambda: {"entries": store.newest(int(limit)), "summary": store.summary()})
        else:
            self.answer(404, {"error": f"nothing is at {url.path}"})

    def do_POST(self):
        if self.path != "/entries":
            self.answer(404, {"error": f"nothing is at {self.path}"})
            return
        try:
            length = int(self.headers.get("Content-Length", "0"))
            entry = json.loads(self.rfile.read(min(length, 65536)))
            author, text = entry["author"], entry["text"]
            if not (isinstance(author, str) and isinstance(text, str)):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            self.answer(400, {"error": 'the body must be {"author": "…", "text": "…"}'})
            return
        # Answered only after the commit: an entry that was acknowledged is on disk.
        self.from_store(201, lambda: {"id": store.add(author, text)})

    def from_store(self, status, action):
        try:
            body = action()
        except store.Unavailable as error:
            status, body = 503, {"error": f"the database does not answer: {error}"}
        self.answer(status, body)

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """The web front logs requests already."""


class Server(ThreadingHTTPServer):
    """Waits for the requests that are under way when it is closed."""

    daemon_threads = False
    request_queue_size = 128


def main():
    store.prepare()
    server = Server(("", 8000), Handler)
    # shutdown() waits for the loop that the signal has interrupted, so it needs a thread of its own.
    stop = lambda *_: threading.Thread(target=server.shutdown).start()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"guestbook api {VERSION} listens on port 8000")
    server.serve_forever(poll_interval=0.05)
    server.server_close()


if __name__ == "__main__":
    main()
