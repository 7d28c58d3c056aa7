"""The engine's API without a process per request: what the benchmarks measure the client against."""

import http.client
import json
import socket
import urllib.parse

from guestbook_stack import expect


class EngineConnection(http.client.HTTPConnection):
    """HTTP over the engine's socket: what the floor is measured with must not start a process per request."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")


def engine(method, path):
    """One request to the engine; its JSON, if there is any."""
    connection = EngineConnection("localhost")
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        expect(f"{method} {path}: {answer.status} {body[:200]!r}", answer.status < 400)
        return json.loads(body) if body.strip() else None
    finally:
        connection.close()


def container(project, service):
    """The ID of the running container of a service, if there is one."""
    labels = [f"com.docker.compose.project={project}", f"com.docker.compose.service={service}"]
    found = engine("GET", f"/containers/json?filters={urllib.parse.quote(json.dumps({'label': labels}))}")
    return found[0]["Id"] if found else None
