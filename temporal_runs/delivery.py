"""How notifications leave: webhooks over HTTP, e-mails over SMTP. One try a call; who calls tries again.

Secrets are read from their files whenever they are needed, so that they can be replaced, and are never kept or shown.
"""

import hashlib
import hmac
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import requests

SECONDS = 20
"""How long somebody's server may take to answer."""

Tls = Literal["starttls", "tls", "none"]


class NotDelivered(Exception):
    """A notification did not arrive. `final`: it will not at another time either."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


@dataclass(frozen=True)
class Webhooks:
    """How URLs are told."""

    hosts: tuple[str, ...] | None = None
    """names of the hosts that may be; None: any"""
    secret_file: Path | None = None
    """what bodies are signed with; None: they are not"""

    def post(self, url: str, body: bytes, key: str) -> None:
        """Posts a JSON body; raises NotDelivered. `key` is the same in every try at one notification."""
        host = urlsplit(url).hostname or ""
        if self.hosts is not None and host not in self.hosts:
            raise NotDelivered(f"webhooks may not go to {host}: TEMPORAL_RUNS_NOTIFICATIONS names others", final=True)
        headers = {"Content-Type": "application/json", "User-Agent": "temporal-runs", "Idempotency-Key": key}
        if self.secret_file:
            signature = hmac.new(_secret(self.secret_file, "webhooks").encode(), body, hashlib.sha256)
            headers["Temporal-Runs-Signature"] = f"sha256={signature.hexdigest()}"
        try:
            # Not to where somebody redirects it, not with the logins of this machine's .netrc, and without reading
            # what is answered.
            with requests.post(
                url, body, headers=headers, timeout=SECONDS, allow_redirects=False, auth=_anonymous, stream=True
            ) as answer:
                if not 200 <= answer.status_code < 300:
                    raise NotDelivered(f"{host} answered {answer.status_code} {answer.reason}")
        except requests.RequestException as error:
            raise NotDelivered(f"{host} did not take it: {type(error).__name__}") from error


@dataclass(frozen=True)
class Mail:
    """The SMTP server that e-mails are handed to."""

    host: str
    port: int
    sender: str
    tls: Tls
    username: str | None = None
    password_file: Path | None = None

    def send(self, to: str, subject: str, text: str, key: str) -> None:
        """Hands an e-mail over; raises NotDelivered. `key` is the same in every try at one notification."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, to, subject
        message["Message-ID"] = f"<{key}@{self.sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        try:
            with self._connection() as connection:
                if self.username and self.password_file:
                    connection.login(self.username, _secret(self.password_file, "e-mail"))
                connection.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            code, said = error.recipients[to]
            raise NotDelivered(f"{self.host} refused {to}: {code} {_text(said)}", final=code >= 500) from error
        except smtplib.SMTPResponseException as error:
            # Also a 5xx is ours to mend, most likely: the login, the sender.
            raise NotDelivered(f"{self.host} answered {error.smtp_code} {_text(error.smtp_error)}") from error
        except (smtplib.SMTPException, OSError) as error:
            raise NotDelivered(f"{self.host}:{self.port} did not take it: {error}") from error

    def _connection(self) -> smtplib.SMTP:
        if self.tls == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=SECONDS, context=ssl.create_default_context())
        connection = smtplib.SMTP(self.host, self.port, timeout=SECONDS)
        if self.tls == "starttls":
            connection.starttls(context=ssl.create_default_context())
        return connection


@dataclass(frozen=True)
class Delivery:
    """What the settings say of notifications."""

    webhooks: Webhooks = Webhooks()
    mail: Mail | None = None
    web_ui: str | None = None
    """address of Temporal's Web UI, for links to it"""


def _anonymous(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _secret(file: Path, what: str) -> str:
    try:
        return file.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise NotDelivered(f"the secret of {what} cannot be read: {file}: {reason}") from None


def _text(said: bytes | str) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said
