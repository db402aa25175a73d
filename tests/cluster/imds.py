"""The instance metadata service: what a cloud tells a machine about itself, which it knows by its address."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "a-session-token"
AWS_NOTICE = "/latest/meta-data/spot/instance-action"
GCP_NOTICE = "/computeMetadata/v1/instance/preempted"


@dataclass
class Metadata:
    """A service at ``endpoint``; ``take`` announces that a machine goes."""

    endpoint: str = ""
    notices: dict[str, datetime] = field(default_factory=dict)
    asked: int = 0
    refused: list[str] = field(default_factory=list)
    """Addresses that asked without the header that AWS or Google wants."""
    nonsense: str | None = None
    """What it says to everything, as a service does that is out of order."""

    def take(self, address: str, seconds: float = 120) -> None:
        """Tell the machine at ``address`` that the market takes it in ``seconds``."""
        self.notices[address] = datetime.now(UTC) + timedelta(seconds=seconds)

    def answer(self, path: str, caller: str) -> tuple[int, str]:
        """Status and text for ``caller``, which has shown that it may ask."""
        end = self.notices.get(caller)
        if self.nonsense is not None:
            return 200, self.nonsense
        if path == GCP_NOTICE:
            return 200, "FALSE" if end is None else "TRUE"
        if path != AWS_NOTICE or end is None:
            return 404, ""
        return 200, json.dumps({"action": "terminate", "time": f"{end:%Y-%m-%dT%H:%M:%SZ}"})


@contextmanager
def metadata(address: str, port: int = 0) -> Iterator[Metadata]:
    """A service at ``address`` while the block runs."""
    told = Metadata()
    server = _Server((address, port), _handler(told))
    told.endpoint = f"http://{address}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A machine whose plug is pulled does not wait for its answer."""


def _handler(told: Metadata) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            has_lifetime = "X-aws-ec2-metadata-token-ttl-seconds" in self.headers
            self._answer(200 if self.path == "/latest/api/token" and has_lifetime else 400, TOKEN)

        def do_GET(self) -> None:
            told.asked += 1
            is_google = self.path.startswith("/computeMetadata/")
            name, value = ("Metadata-Flavor", "Google") if is_google else ("X-aws-ec2-metadata-token", TOKEN)
            if self.headers.get(name) == value:
                return self._answer(*told.answer(self.path, self.client_address[0]))
            told.refused.append(self.client_address[0])
            return self._answer(403 if is_google else 401, "")

        def _answer(self, code: int, text: str) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler
