"""The certificate authority of a hub, and the certificates of its servers; needs `cryptography`.

Members know the authority by its sha256, which an invitation carries, so it signs itself. A server's certificate is
good for both ends of a connection, as the servers of a cluster call each other.
"""

import datetime as dt
import hashlib
import ipaddress
import re
import ssl
from collections.abc import Sequence
from typing import Any, NamedTuple

from mesh.errors import BadInput

VALID_DAYS = 3650
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
"""Every certificate of a server names these too: the hub's own processes reach it by loopback."""

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


class Certified(NamedTuple):
    """A certificate and its private key, in PEM."""

    certificate: bytes
    key: bytes


def check_host(host: str) -> str:
    """Return `host` if it is the name or the IP address of a machine.

    Raises:
        BadInput: it is neither, or means all addresses of a machine.
    """
    address = _address_of(host)
    if address is not None and address.is_unspecified:
        raise BadInput(f"nobody can reach {host}: name the address or the name by which members reach this machine")
    is_address = address is not None and "%" not in host  # what follows it may be any text
    if not is_address and not _HOST_NAME.fullmatch(host):
        raise BadInput(f"{host[:80]!r} is not the name or address of a machine: use one such as hub.example.org")
    return host


def host_of(place: str) -> str:
    """Return the host of `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`."""
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return place.partition(":")[0] if place.count(":") == 1 else place


def new_authority() -> Certified:
    """Return a certificate authority that signs itself.

    Raises:
        BadInput: `cryptography` is not installed.
    """
    x509, ec, hashes = _library()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mesh hub authority")])
    builder = (
        _builder(name, name, key.public_key(), key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
    )
    return _certified(builder.sign(key, hashes.SHA256()), key)


def new_server_certificate(authority: Certified, hosts: Sequence[str]) -> Certified:
    """Return a certificate for the servers that are reached by `hosts`, and by loopback.

    Raises:
        BadInput: a host is neither a name nor an address, or `cryptography` is not installed.
    """
    x509, ec, hashes = _library()
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    named = [
        x509.DNSName(host) if _address_of(host) is None else x509.IPAddress(_address_of(host)) for host in _all(hosts)
    ]
    signer, key = load_pem_private_key(authority.key, None), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(authority.certificate).subject
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mesh hub")])
    usages = [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        _builder(subject, issuer, key.public_key(), signer.public_key())
        .add_extension(x509.SubjectAlternativeName(named), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    )
    return _certified(builder.sign(signer, hashes.SHA256()), key)


def hash_of_certificate(pem: str) -> bytes:
    """Return the sha256 of a certificate, by which an invitation names an authority."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest()


def _all(hosts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*map(check_host, hosts), *LOCAL_NAMES]))


def _address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _library() -> Any:
    """Return the modules of `cryptography` that make certificates."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
    except ModuleNotFoundError as missing:
        raise BadInput(f"a hub needs {missing.name}, which is not installed: pip install 'mesh-swarm[hub]'") from None
    return x509, ec, hashes


def _builder(subject: Any, issuer: Any, public: Any, signer: Any) -> Any:
    """Return the start of a certificate of the key `public` that `signer` signs."""
    x509, _, _ = _library()
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))  # clocks differ
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _usage(*named: str) -> Any:
    """Return what a key may be used for; everything else is forbidden."""
    x509, _, _ = _library()
    usages = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    more = ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{usage: usage in named for usage in (*usages, *more)})


def _certified(certificate: Any, key: Any) -> Certified:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Certified(certificate.public_bytes(Encoding.PEM), secret)
