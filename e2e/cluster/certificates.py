"""The certificates of a cluster: one authority, and leaves for whoever speaks to or is the API server."""

from __future__ import annotations

import base64
import datetime
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

_LIFETIME: Final = datetime.timedelta(days=2)
_EARLIER: Final = datetime.timedelta(hours=1)  # clocks of nodes differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """The cluster's authority; what it signs stands in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("cluster", ())
        builder = _builder(self._name, self._key).issuer_name(self._name)
        signs = x509.BasicConstraints(ca=True, path_length=None)
        certificate = builder.add_extension(signs, critical=True).sign(self._key, hashes.SHA256())
        self.pair = _write(folder, "ca", certificate, self._key)

    def issue(
        self,
        file: str,
        name: str,
        *,
        organisations: tuple[str, ...] = (),
        hosts: tuple[str, ...] = (),
    ) -> Pair:
        """Sign a certificate for a client and, where hosts are given, a server of these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name, organisations), key).issuer_name(self._name)
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return _write(self._folder, file, builder.sign(self._key, hashes.SHA256()), key)

    def kubeconfig(self, file: str, server: str, client: Pair) -> Path:
        """Write a kubeconfig that holds all it needs, so that it can be copied anywhere."""
        path = self._folder / f"{file}.kubeconfig"
        path.write_text(yaml.safe_dump(self._kubeconfig(server, client)), encoding="utf-8")
        path.chmod(0o600)
        return path

    def _kubeconfig(self, server: str, client: Pair) -> dict[str, object]:
        cluster = {"server": server, "certificate-authority-data": _data(self.pair.certificate)}
        user = {
            "client-certificate-data": _data(client.certificate),
            "client-key-data": _data(client.key),
        }
        context = {"cluster": "cluster", "user": "user"}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "cluster", "context": context}],
            "current-context": "cluster",
        }


def _name(common: str, organisations: tuple[str, ...]) -> x509.Name:
    said = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in organisations]
    return x509.Name([*said, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + _LIFETIME)
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(
    folder: Path, file: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> Pair:
    pair = Pair(certificate=folder / f"{file}.crt", key=folder / f"{file}.key")
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pair.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    pair.key.chmod(0o600)
    return pair


def _data(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode("ascii")
