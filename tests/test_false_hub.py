"""Who stands between a machine and its hub: it answers with a TLS server of its own, and is told no secret."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mesh.accounts.certificates import Certified, hash_of_certificate, new_authority, new_server_certificate
from mesh.errors import BadInput, BusUnavailable
from mesh.invitation import Invitation
from mesh.membership import offer_of


class Asked:
    """What a false hub was asked, and its place."""

    def __init__(self, port: int) -> None:
        self.place = f"127.0.0.1:{port}"
        self.requests: list[str] = []
        self.bodies: list[bytes] = []


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that hangs up."""


@contextmanager
def false_hub(folder: Path, ca: bytes, authority: Certified, date: str = "") -> Iterator[Asked]:
    """Serve this CA by TLS with a certificate of an authority, and an answer to every question."""
    made = new_server_certificate(authority, ["127.0.0.1"])
    (folder / "server.pem").write_bytes(made.certificate)
    (folder / "server.key").write_bytes(made.key)

    class Handler(BaseHTTPRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return date or super().date_time_string(timestamp)

        def do_GET(self) -> None:
            self.say(ca)

        def do_POST(self) -> None:
            asked.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.say(b'{"role": "agent", "arenas": ["one"]}')

        def say(self, data: bytes) -> None:
            asked.requests.append(f"{self.command} {self.path}")
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    with _Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        asked = Asked(server.server_port)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield asked
        finally:
            server.shutdown()
            serving.join()


def authority_with_padding() -> Certified:
    """Return an authority whose certificate ends in `=`: base64 is read up to there, whatever follows."""
    while True:
        made = new_authority()
        if len(ssl.PEM_cert_to_DER_cert(made.certificate.decode())) % 3:
            return made


@pytest.mark.parametrize("order", ["the own one last", "the own one first"])
def test_a_certificate_beside_that_of_the_invitation_is_not_believed(tmp_path: Path, order: str) -> None:
    true, evil = authority_with_padding(), new_authority()
    both = (true.certificate, evil.certificate) if order == "the own one last" else (evil.certificate, true.certificate)
    with false_hub(tmp_path, b"".join(both), evil) as asked:
        invitation = Invitation(b"s" * 16, hash_of_certificate(true.certificate.decode()), asked.place)
        with pytest.raises(BadInput, match=r"the certificate of the hub at|is not the one of this invitation"):
            offer_of(invitation, "ann", tmp_path)
        assert asked.requests == ["GET /ca.pem"]
        assert asked.bodies == []


def test_the_hub_of_the_invitation_is_believed_and_its_certificate_alone_is_kept(tmp_path: Path) -> None:
    true, evil = authority_with_padding(), new_authority()
    with false_hub(tmp_path, true.certificate + evil.certificate, true) as asked:
        invitation = Invitation(b"s" * 16, hash_of_certificate(true.certificate.decode()), asked.place)
        offer, ca = offer_of(invitation, "ann", tmp_path)
        assert (offer.role, offer.arenas) == ("agent", ("one",))
        assert ca.strip() == true.certificate.decode().strip()
        assert asked.requests == ["GET /ca.pem", "POST /api/invitation"]


def test_an_answer_with_a_date_that_is_none_is_said_in_one_sentence(tmp_path: Path) -> None:
    true = new_authority()
    with false_hub(tmp_path, true.certificate, true, date="yesterday, at tea") as asked:
        invitation = Invitation(b"s" * 16, hash_of_certificate(true.certificate.decode()), asked.place)
        with pytest.raises(BusUnavailable, match="does not speak as a hub does"):
            offer_of(invitation, "ann", tmp_path)
