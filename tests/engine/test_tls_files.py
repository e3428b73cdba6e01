"""Certificates and keys that cannot be used end the start with a reason, in both backends."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from iii_fast import _core
from iii_fast._backend import create_backend
from iii_fast.config import Overrides, Settings
from iii_fast.contracts import Limits, TlsFiles
from iii_fast.errors import ConfigError
from tests.support.certificates import Certificates
from tests.support.engine_process import BACKENDS


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate and its key."""
    return Certificates.make(tmp_path_factory.mktemp("good"))


def _written(path: Path, text: bytes) -> Path:
    path.write_bytes(text)
    return path


BROKEN = b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"
BAD: dict[str, tuple[Callable[[Certificates, Path], TlsFiles], str]] = {
    "no such certificate": (
        lambda good, folder: TlsFiles(folder / "none.pem", good.key),
        r"TLS certificate .*none\.pem cannot be read: No such file",
    ),
    "no such key": (lambda good, folder: TlsFiles(good.chain, folder / "none.pem"), r"TLS key .*none\.pem cannot be"),
    "a directory": (lambda good, folder: TlsFiles(good.chain, folder), "TLS key .* cannot be read: Is a directory"),
    "no certificate in it": (lambda good, folder: TlsFiles(good.key, good.key), "has no certificate in it"),
    "no key in it": (lambda good, folder: TlsFiles(good.chain, good.chain), "has no key in it"),
    "the key of another certificate": (
        lambda good, folder: TlsFiles(good.chain, Certificates.make(folder).key),
        "does not belong to the certificate",
    ),
    "broken base64": (
        lambda good, folder: TlsFiles(_written(folder / "c", BROKEN), good.key),
        "cannot be used",
    ),
    "far too large": (
        lambda good, folder: TlsFiles(_written(folder / "c", b"\n" * ((1 << 20) + 1)), good.key),
        "has more than 1048576 bytes",
    ),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("backend", BACKENDS)
def test_files_that_cannot_be_used(backend: str, case: str, good: Certificates, tmp_path: Path) -> None:
    make, reason = BAD[case]
    with pytest.raises(ConfigError, match=reason):
        create_backend(backend, Limits(), tls=make(good, tmp_path))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_key_with_a_password(backend: str, good: Certificates, tmp_path: Path) -> None:
    locked = tmp_path / "locked.pem"
    command = ["openssl", "pkey", "-in", good.key, "-aes256", "-passout", "pass:secret", "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ConfigError, match=r"locked\.pem has a password; write it without"):
        create_backend(backend, Limits(), tls=TlsFiles(good.chain, locked))


@pytest.mark.parametrize("backend", BACKENDS)
def test_files_that_can_be_used(backend: str, good: Certificates) -> None:
    assert create_backend(backend, Limits(), tls=TlsFiles(good.chain, good.key)).name == backend


def test_the_extension_tells_what_it_cannot_use(good: Certificates) -> None:
    chain, key = good.chain.read_bytes(), good.key.read_bytes()
    for certificates, private_key in [(b"", key), (chain, b""), (chain, chain)]:
        with pytest.raises(ValueError, match=r"certificate|key"):
            _core.TlsIdentity(certificates, private_key)


def test_a_certificate_and_its_key_go_together() -> None:
    for given, reason in [("tls_cert", "--tls-cert needs --tls-key"), ("tls_key", "--tls-key needs --tls-cert")]:
        with pytest.raises(ConfigError, match=reason):
            Overrides.from_texts({given: ("x", "a.pem")}).apply(Settings())
    below = Settings(tls=TlsFiles(Path("c"), Path("k")))
    assert Overrides.from_texts({"tls_key": ("x", "n")}).apply(below).tls == TlsFiles(Path("c"), Path("n"))
    with pytest.raises(ConfigError, match="III_FAST_TLS_CERT is empty, expected a PEM file"):
        Overrides.from_environment({"III_FAST_TLS_CERT": ""})
