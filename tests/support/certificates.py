"""Certificates of a CA that only the tests know, as the files that an engine and its clients are given."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Certificates:
    """Paths of PEM files: the CA, and the chain and key of an engine on this machine."""

    authority: Path
    chain: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        """Writes new ones to ``folder``."""
        made = cls(folder / "authority.pem", folder / "chain.pem", folder / "key.pem")
        authority = trustme.CA()
        own = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(made.authority)
        own.private_key_pem.write_to_path(made.key)
        for number, blob in enumerate(own.cert_chain_pems):
            blob.write_to_path(made.chain, append=number > 0)
        return made

    @property
    def flags(self) -> list[str]:
        """What ``iii-fast serve`` is given."""
        return ["--tls-cert", str(self.chain), "--tls-key", str(self.key)]

    @property
    def environment(self) -> dict[str, str]:
        """How clients in other languages are told to trust the CA."""
        return {"SSL_CERT_FILE": str(self.authority), "NODE_EXTRA_CA_CERTS": str(self.authority)}

    def client(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """For a client that trusts the CA and speaks one version of TLS, or any."""
        context = ssl.create_default_context(cafile=str(self.authority))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context
