"""Servers of people who want to be told when a Run ends: HTTP and SMTP, both real, on this machine."""

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

WITHIN = 90.0


@dataclass(frozen=True)
class Post:
    path: str
    headers: dict[str, str]
    body: bytes


class Hooks:
    """An HTTP server that gives the answers it is told to, then 204s; `posts` is what came."""

    def __init__(self, port: int = 0, answers: list[int] | None = None) -> None:
        self.posts: Queue[Post] = Queue()
        self.answers = answers or []
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hooks.posts.put(Post(self.path, dict(self.headers), body))
                self.send_response(hooks.answers.pop(0) if hooks.answers else 204)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/runs"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def next(self) -> Post:
        return self.posts.get(timeout=WITHIN)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Mailbox:
    """An SMTP server that takes everything; `messages` is what came."""

    port: int
    tls: Any = None
    password: str | None = None
    messages: "Queue[EmailMessage]" = field(default_factory=Queue)

    def __post_init__(self) -> None:
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            tls_context=self.tls,
            require_starttls=self.tls is not None,
            auth_required=self.password is not None,
            authenticator=self._authenticate,
        )
        self._controller.start()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address.startswith("nobody@"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.messages.put(message)
        return "250 OK"

    def next(self) -> EmailMessage:
        return self.messages.get(timeout=WITHIN)

    def close(self) -> None:
        with suppress(AssertionError):
            self._controller.stop()

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=data.password.decode() == self.password, handled=False)
