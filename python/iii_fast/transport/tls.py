"""TLS on Trio streams, by whatever does the encryption: loading certificate and key, and the stream itself.

``ssl`` of the standard library is one ``Cipher``; the native backend brings another, which a reactor can go on with.
"""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import Final, Protocol

import trio

from iii_fast.contracts import TlsFiles
from iii_fast.errors import ConfigError

RECEIVE_BYTES: Final = 16 << 10
SEND_BYTES: Final = 64 << 10
FILE_BYTES_MAX: Final = 1 << 20
"""A certificate chain has some KiB."""


class Cipher(Protocol):
    """The encryption of one connection: bytes in, bytes out. What the peer does wrong is a ``ConnectionError``."""

    def receive(self, data: bytes) -> bytes:
        """Takes bytes of the socket; returns what they hold for us, which may be nothing."""

    def send(self, data: bytes) -> None:
        """Encrypts bytes for the peer; the handshake is over."""

    def close(self) -> None:
        """Says that we send no more."""

    def take(self) -> bytes:
        """What must be written to the socket."""


class TlsStream(trio.abc.HalfCloseableStream):
    """A socket encrypted by a ``Cipher``. The handshake is made while its first bytes are received.

    What is encrypted is kept until the socket has taken it: a cancelled call leaves the rest to the next ``flush``.
    """

    def __init__(self, stream: trio.SocketStream, cipher: Cipher) -> None:
        self._stream = stream
        self._cipher = cipher
        self._encrypted = bytearray()
        # Reading may have something to send as well, and records must leave in the order they were made.
        self._sending = trio.Lock()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What the peer sent, however much that is; empty at its end. Raises ``BrokenResourceError``."""
        while data := await self._stream.receive_some(RECEIVE_BYTES):
            try:
                plain = self._cipher.receive(bytes(data))
            except EOFError:
                return b""
            except ConnectionError as error:
                await self.flush()  # the alert that says why
                raise trio.BrokenResourceError(f"TLS: {error}") from error
            if plain:
                return plain
            await self.flush()
        return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends ``data``. Raises ``BrokenResourceError``."""
        view = memoryview(data)
        while view:
            view = view[self.put(view) :]
            await self.flush()

    def put(self, data: bytes | bytearray | memoryview) -> int:
        """Encrypts the beginning of ``data`` for the next ``flush``; returns how much of it."""
        part = bytes(data[:SEND_BYTES])
        self._cipher.send(part)
        return len(part)

    @property
    def is_flushed(self) -> bool:
        """Whether the socket has taken everything."""
        self._encrypted += self._cipher.take()
        return not self._encrypted

    async def flush(self) -> None:
        """Sends what is encrypted. Raises ``BrokenResourceError``."""
        async with self._sending:
            while not self.is_flushed:
                try:
                    sent = await self._stream.socket.send(memoryview(self._encrypted).toreadonly())
                except OSError as error:
                    raise trio.BrokenResourceError(str(error)) from error
                self._encrypted = self._encrypted[sent:]

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream below."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Says that we send no more. Raises ``BrokenResourceError``."""
        self._cipher.close()
        await self.flush()
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Closes the stream below."""
        await self._stream.aclose()


class SslCipher:
    """``Cipher`` of the standard library, the server's side."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shaken = False

    def receive(self, data: bytes) -> bytes:
        """See ``Cipher``. Raises ``EOFError`` when the peer has said that it sends no more."""
        self._incoming.write(data)
        plain = bytearray()
        try:
            if not self._shaken:
                self._ssl.do_handshake()
                self._shaken = True
            while part := self._ssl.read(SEND_BYTES):
                plain += part
        except ssl.SSLWantReadError:
            return bytes(plain)
        except ssl.SSLError as error:
            if not plain and not isinstance(error, ssl.SSLZeroReturnError):
                raise ConnectionError(error.reason or str(error)) from error
        if not plain:
            raise EOFError
        return bytes(plain)

    def send(self, data: bytes) -> None:
        """See ``Cipher``."""
        self._ssl.write(data)

    def close(self) -> None:
        """See ``Cipher``."""
        with contextlib.suppress(ssl.SSLError):  # it wants the peer's answer, or there is no handshake to end
            self._ssl.unwrap()

    def take(self) -> bytes:
        """See ``Cipher``."""
        return self._outgoing.read()


def load(files: TlsFiles) -> tuple[bytes, bytes]:
    """The PEM texts of certificate chain and key, which fit each other. Raises ``ConfigError``."""
    context(files)
    return _read("certificate", files.certificate), _read("key", files.key)


def context(files: TlsFiles) -> ssl.SSLContext:
    """For ``SslCipher``: TLS 1.2 and 1.3. Raises ``ConfigError``."""
    _read("certificate", files.certificate)
    _read("key", files.key)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password given here OpenSSL would ask for it at the terminal.
        made.load_cert_chain(files.certificate, files.key, password="")
    except ssl.SSLError as error:
        raise ConfigError(_why_unusable(files, error)) from None
    return made


def _why_unusable(files: TlsFiles, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return (
            f"TLS key {files.key} does not belong to the certificate {files.certificate}: the first certificate of "
            "that file must be the one of this key"
        )
    return (
        f"TLS certificate {files.certificate} and key {files.key} cannot be used ({error.reason or error}): expected "
        "two PEM files, a certificate chain with its own certificate first, and its private key without a password"
    )


def _read(what: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"TLS {what} {path} cannot be read: {error.strerror or error}") from None
    if len(text) > FILE_BYTES_MAX:
        raise ConfigError(f"TLS {what} {path} has more than {FILE_BYTES_MAX} bytes, expected a PEM file")
    if (b"PRIVATE KEY-----" if what == "key" else b"-----BEGIN CERTIFICATE-----") not in text:
        raise ConfigError(f"TLS {what} {path} has no {what} in it, expected PEM")
    if b"ENCRYPTED PRIVATE KEY-----" in text or b"Proc-Type: 4,ENCRYPTED" in text:
        raise ConfigError(f"TLS key {path} has a password; write it without one (openssl pkey -in KEY -out FILE)")
    return text
