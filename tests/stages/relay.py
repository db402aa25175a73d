"""What stands between a program and an S3 server: it counts the requests, and loses or changes answers."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_OF_THE_CONNECTION = ("connection", "transfer-encoding", "content-length", "expect")


class Relay(ThreadingHTTPServer):
    """Passes every request on to the server at ``port`` of this machine."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.port, self.requests, self.answers_to_lose = port, list[str](), 0
        self.changes: Callable[[bytes], bytes] = lambda content: content

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def counted(self, path: str = "") -> dict[str, int]:
        """How many requests of each method there were, of paths that begin with ``path``; and forget them."""
        methods = [line.split()[0] for line in self.requests if line.split()[1].startswith(path)]
        self.requests.clear()
        return {method: methods.count(method) for method in sorted(set(methods))}


@contextmanager
def relay(endpoint: str) -> Iterator[Relay]:
    """A relay to the server at ``endpoint`` while the block runs."""
    server = Relay(int(endpoint.rpartition(":")[2]))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Relay

    def _pass(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        there = http.client.HTTPConnection("127.0.0.1", self.server.port)
        there.request(self.command, self.path, body, headers)
        answer = there.getresponse()
        content = self.server.changes(answer.read())
        if self.server.answers_to_lose > 0:
            self.server.answers_to_lose -= 1
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _OF_THE_CONNECTION or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815  as http.server wants them

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""
