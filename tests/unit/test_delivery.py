"""Notifications reach a real HTTP and a real SMTP server, once they are let, and nobody else."""

import hashlib
import hmac
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from temporal_runs.delivery import Mail, NotDelivered, Webhooks
from temporal_runs.settings import Settings, SettingsError
from tests.listeners import Hooks, Mailbox
from tests.registries import free_port


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    hooks = Hooks()
    yield hooks
    hooks.close()


def test_a_body_is_posted_with_its_key_and_signed(hooks: Hooks, tmp_path: Path):
    (tmp_path / "secret").write_text("s3cret\n")
    Webhooks(secret_file=tmp_path / "secret").post(hooks.url, b'{"state": "Failed"}', "k1")
    post = hooks.next()
    signed = hmac.new(b"s3cret", post.body, hashlib.sha256).hexdigest()
    assert (post.path, post.body) == ("/runs", b'{"state": "Failed"}')
    assert (post.headers["Idempotency-Key"], post.headers["Content-Type"]) == ("k1", "application/json")
    assert post.headers["Temporal-Runs-Signature"] == f"sha256={signed}"


@pytest.mark.parametrize("status", [302, 404, 500])
def test_what_is_not_taken_is_not_delivered_and_redirects_lead_nowhere(hooks: Hooks, status: int):
    hooks.answers = [status]
    with pytest.raises(NotDelivered, match=f"127.0.0.1 answered {status}") as refused:
        Webhooks().post(hooks.url, b"{}", "k1")
    assert not refused.value.final
    assert hooks.posts.qsize() == 1


def test_webhooks_go_to_the_hosts_that_are_named_only(hooks: Hooks):
    with pytest.raises(NotDelivered, match="may not go to") as refused:
        Webhooks(hosts=("hooks.example.org",)).post(hooks.url, b"{}", "k1")
    assert refused.value.final
    assert hooks.posts.empty()


def test_the_logins_of_this_machine_go_nowhere(hooks: Hooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    Webhooks().post(hooks.url, b"{}", "k1")
    assert "Authorization" not in hooks.next().headers


def test_an_e_mail_is_encrypted_and_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 1 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost",
        shell=True,
        check=True,
        capture_output=True,
    )
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    (tmp_path / "password").write_text("right\n")
    mailbox = Mailbox(free_port(), tls, password="right")
    mail = Mail("localhost", mailbox.port, "runs@example.org", "starttls", "runs", tmp_path / "password")
    try:
        mail.send("ada@example.org", "Failed: zürich", "It ended.\n", "k1")
        message = mailbox.next()
        (tmp_path / "password").write_text("wrong\n")
        with pytest.raises(NotDelivered, match="535"):
            mail.send("ada@example.org", "Failed", "It ended.\n", "k1")
    finally:
        mailbox.close()
    assert (message["To"], message["From"], message["Subject"]) == (
        "ada@example.org",
        "runs@example.org",
        "Failed: zürich",
    )
    assert message["Message-ID"] == "<k1@example.org>"
    assert message.get_content().strip() == "It ended."


def test_a_mailbox_that_there_is_not_is_not_tried_again():
    mailbox = Mailbox(free_port())
    try:
        with pytest.raises(NotDelivered, match="no such mailbox") as refused:
            Mail("127.0.0.1", mailbox.port, "runs@example.org", "none").send("nobody@example.org", "s", "t", "k")
    finally:
        mailbox.close()
    assert refused.value.final


def test_a_server_that_is_down_is_tried_again():
    with pytest.raises(NotDelivered, match="did not take it") as refused:
        Mail("127.0.0.1", free_port(), "runs@example.org", "none").send("ada@example.org", "s", "t", "k")
    assert not refused.value.final


def test_the_settings_file_says_how(tmp_path: Path):
    file = tmp_path / "notifications.toml"
    file.write_text(
        'web_ui = "https://temporal.example.org"\n[webhooks]\nhosts = ["h"]\n'
        '[smtp]\nhost = "mail.example.org:587"\nsender = "runs@example.org"\n'
    )
    delivery = Settings(home=tmp_path, notifications=file).delivery
    assert delivery.webhooks == Webhooks(hosts=("h",))
    assert delivery.mail == Mail("mail.example.org", 587, "runs@example.org", "starttls")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('username = "me"', "go together"),
        ('username = "me"\npassword_file = "/p"\ntls = "none"', "a login needs tls"),
        ("port = 25", "smtp.port"),
    ],
)
def test_a_settings_file_that_cannot_be_meant_is_refused(tmp_path: Path, line: str, problem: str):
    file = tmp_path / "notifications.toml"
    file.write_text(f'[smtp]\nhost = "h:25"\nsender = "runs@example.org"\n{line}\n')
    with pytest.raises(SettingsError, match=problem):
        _ = Settings(home=tmp_path, notifications=file).delivery
