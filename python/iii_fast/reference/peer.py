"""What several sessions need to know of one worker connection. Mirrors ``rust/core/src/peer.rs``."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iii_fast.contracts import SessionId
from iii_fast.reference.codec_value import to_json
from iii_fast.reference.outbox import Outbox
from iii_fast.reference.transcode import InexpressibleError, to_msgpack

if TYPE_CHECKING:
    from iii_fast.reference.invocation import Pending
    from iii_fast.reference.registry import Function


@dataclass(eq=False, slots=True)
class Peer:
    """One worker connection as others see it. ``gone`` is set when its clean-up begins."""

    session: SessionId
    address: str
    connected_at_ms: int
    message_bytes_max: int
    outbox: Outbox
    worker_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    reattach_token: str = field(default_factory=lambda: str(uuid.uuid4()))
    gone: bool = False
    speaks_msgpack: bool = False
    functions: dict[str, Function] = field(default_factory=dict)
    calling: dict[str, Pending] = field(default_factory=dict)
    executing: dict[str, Pending] = field(default_factory=dict)

    @property
    def encode(self) -> Callable[[str], str | bytes]:
        """Encodes a message in the codec of the peer's last one. Raises ``InexpressibleError``."""
        return to_msgpack if self.speaks_msgpack else to_json

    def push(self, message: str) -> None:
        """Sends what the peer did not ask for; as JSON text when msgpack cannot express it (rule 28)."""
        try:
            self.outbox.send(self.encode(message))
        except InexpressibleError:
            self.outbox.send(message)


class Directory:
    """All live workers, oldest first."""

    def __init__(self) -> None:
        self._by_session: dict[SessionId, Peer] = {}
        self._by_worker: dict[str, Peer] = {}

    def insert(self, peer: Peer) -> None:
        """A worker connected."""
        self._by_session[peer.session] = peer
        self._by_worker[peer.worker_id] = peer

    def remove(self, peer: Peer) -> None:
        """A worker is gone."""
        self._by_session.pop(peer.session, None)
        self._by_worker.pop(peer.worker_id, None)

    def get(self, session: SessionId) -> Peer | None:
        """The worker of a session."""
        return self._by_session.get(session)

    def find(self, worker_id: str, token: str) -> Peer | None:
        """The live worker that was given this id and token."""
        peer = self._by_worker.get(worker_id)
        known = peer is not None and hmac.compare_digest(peer.reattach_token.encode(), token.encode())
        return peer if known else None

    def all(self) -> list[Peer]:
        """All of them, oldest first."""
        return list(self._by_session.values())
