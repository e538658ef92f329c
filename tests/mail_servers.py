"""A mail server in a thread, which keeps what it gets; it can refuse it."""

from __future__ import annotations

import email
import email.policy
import socketserver
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage


@dataclass
class MailServer:
    """What the server got, and how it answers.

    Attributes:
        mails: in the order in which they came.
        refuses: whether it refuses the next ones.
        port: of 127.0.0.1.
    """

    mails: list[EmailMessage] = field(default_factory=list)
    refuses: bool = False
    port: int = 0


class Session(socketserver.StreamRequestHandler):
    """Speaks RFC 5321 as far as smtplib needs."""

    server: _Server

    def handle(self) -> None:
        self.reply("220 ready")
        while (line := self.rfile.readline()) and line != b"quit\r\n":
            self.answer(line.decode().strip().upper())

    def answer(self, command: str) -> None:
        if command.startswith("MAIL") and self.server.seen.refuses:
            self.reply("451 try again later")
        elif command == "DATA":
            self.reply("354 go on")
            self.server.seen.mails.append(self.read_mail())
            self.reply("250 accepted")
        else:
            self.reply("250 ok")

    def read_mail(self) -> EmailMessage:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        return email.message_from_bytes(b"".join(lines), policy=email.policy.default)

    def reply(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    seen: MailServer


@contextmanager
def running_mail_server() -> Iterator[MailServer]:
    """Yield a server while the block lasts."""
    with _Server(("127.0.0.1", 0), Session) as server:
        server.seen = MailServer(port=server.server_address[1])
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.seen
        finally:
            server.shutdown()
            thread.join()
