"""The state functions behind a real WebSocket, as far as the commands use them, with failures at chosen calls.

What a real engine answers is tested with real engines; this one can be cut, refuse and be counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from iii_fast import jsontext
from iii_fast.errors import WireError
from tests.cli.fake_engine import REGISTERED

Entry = tuple[int, bytes, int | None]
"""Insertion number, value text, expires_at."""

ANSWER_BYTES_MAX: Final = 100_000


class FakeState:
    """Entries by scope and key. ``fail`` maps the how-manieth call of a function to an error, or to ``None``: cut.

    The call ``hang_at`` is never answered, and sets ``hanging``.
    """

    def __init__(self) -> None:
        self.scopes: dict[str, dict[str, Entry]] = {}
        self.calls: Counter[str] = Counter()
        self.fail: dict[tuple[str, int], WireError | None] = {}
        self.hang_at: tuple[str, int] | None = None
        self.hanging = trio.Event()
        self.durable = True
        self.page_entries = 1_000
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self._number = 0

    def put(self, scope: str, key: str, value: str, expires_at: int | None = None) -> None:
        """Stores the text of a value."""
        self._number += 1
        entries = self.scopes.setdefault(scope, {})
        number = entries[key][0] if key in entries else self._number
        entries[key] = (number, value.encode(), expires_at)

    def texts(self) -> dict[str, dict[str, tuple[str, int | None]]]:
        """Everything that is stored, without insertion numbers."""
        return {
            scope: {key: (value.decode(), expires_at) for key, (_, value, expires_at) in entries.items()}
            for scope, entries in self.scopes.items()
            if entries
        }

    def answer(self, function_id: str, data: bytes) -> bytes:
        """Raises ``WireError``; ``ConnectionResetError`` where the connection is to be cut."""
        self.calls[function_id] += 1
        self.seen.append((function_id, json.loads(data)))
        at = (function_id, self.calls[function_id])
        if at in self.fail:
            error = self.fail[at]
            raise ConnectionResetError if error is None else error
        fields = dict(jsontext.members(data) or ())
        if not self.durable and fields.get("durable") == b"true":
            raise WireError("DURABILITY_UNAVAILABLE", "this engine keeps state in memory only")
        known: dict[str, Callable[[dict[str, bytes]], bytes]] = {
            "state::list_groups": self._list_groups,
            "state::list_entries": self._list_entries,
            "state::list_keys": self._list_keys,
            "state::get_many": self._get_many,
            "state::set_many": self._set_many,
            "state::set": self._set,
            "state::compare-and-set": self._compare_and_set,
        }
        result = known[function_id](fields)
        if len(result) > ANSWER_BYTES_MAX:
            raise WireError("payload_too_large", f"Result of {len(result)} bytes")
        return result

    def _list_groups(self, _: dict[str, bytes]) -> bytes:
        return jsontext.encode({"groups": sorted(self.scopes, key=str.encode)})

    def _list_keys(self, fields: dict[str, bytes]) -> bytes:
        prefix = jsontext.decode(fields.get("prefix", b"null")) or ""
        return jsontext.encode({"keys": [key for key in self._scope(fields) if key.startswith(prefix)]})

    def _list_entries(self, fields: dict[str, bytes]) -> bytes:
        cursor, prefix = jsontext.decode(fields["cursor"]), jsontext.decode(fields.get("prefix", b"null")) or ""
        after = int(cursor.removeprefix("c")) if cursor else 0
        bytes_max = min(jsontext.decode(fields["max_bytes"]), ANSWER_BYTES_MAX - 1_000)
        rest = [item for item in self._scope(fields).items() if item[1][0] > after]
        page, size = [], 0
        for key, (number, value, _) in rest[: self.page_entries]:
            text = b"[" + jsontext.quote(key) + b"," + value + b"]"
            size += len(text)
            if size > bytes_max and not page:
                raise WireError("ROW_TOO_LARGE", f'entry "{key}" has {size} bytes')
            if size > bytes_max:
                break
            page.append((number, text if key.startswith(prefix) else None))
        following = f"c{page[-1][0]}" if len(page) < len(rest) else None
        return jsontext.build(
            [
                ("entries", b"[" + b",".join(text for _, text in page if text) + b"]"),
                ("next_cursor", jsontext.encode(following)),
            ]
        )

    def _get_many(self, fields: dict[str, bytes]) -> bytes:
        entries = self._scope(fields)
        found = [entries.get(item["key"]) for item in jsontext.decode(fields["keys"])]
        texts = [
            b"null" if one is None else jsontext.build([("value", one[1]), ("expires_at", jsontext.encode(one[2]))])
            for one in found
        ]
        return jsontext.build([("entries", b"[" + b",".join(texts) + b"]")])

    def _set_many(self, fields: dict[str, bytes]) -> bytes:
        items = [dict(jsontext.members(item) or ()) for item in jsontext.elements(fields["entries"]) or ()]
        for item in items:
            self._set(item)
        return jsontext.encode({"written": len(items), "version": 1})

    def _set(self, item: dict[str, bytes]) -> bytes:
        scope, key, expires_at = (jsontext.decode(item.get(name, b"null")) for name in ("scope", "key", "expires_at"))
        self.put(scope, key, item["value"].decode(), expires_at)
        return b"{}"

    def _compare_and_set(self, item: dict[str, bytes]) -> bytes:
        absent = jsontext.decode(item["key"]) not in self._scope(item)
        if absent:
            self._set(item)
        return jsontext.encode({"swapped": absent})

    def _scope(self, fields: dict[str, bytes]) -> dict[str, Entry]:
        return self.scopes.get(jsontext.decode(fields["scope"]), {})


@asynccontextmanager
async def fake_state(state: FakeState) -> AsyncGenerator[list[str]]:
    """Serves ``state`` and yields the options that lead a command to it."""

    async def handle(request: WebSocketRequest) -> None:
        connection = await request.accept()
        try:
            # Inside: a command that has nothing to ask may have left already.
            await connection.send_message(REGISTERED)
            while True:
                await _serve(state, connection, (await connection.get_message()).encode())
        except ConnectionResetError:
            await connection.aclose(1012, "cut")
        except ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, handle, "127.0.0.1", 0, None)
        yield ["--address", "127.0.0.1", "--port", str(server.port)]
        nursery.cancel_scope.cancel()


async def _serve(state: FakeState, connection: WebSocketConnection, message: bytes) -> None:
    fields = dict(jsontext.members(message) or ())
    try:
        outcome = ("result", state.answer(jsontext.decode(fields["function_id"]), fields["data"]))
    except WireError as error:
        outcome = ("error", jsontext.encode({"code": error.code, "message": error.message}))
    function_id = jsontext.decode(fields["function_id"])
    if state.hang_at == (function_id, state.calls[function_id]):
        state.hanging.set()
        await trio.sleep_forever()
    ids = [(name, fields[name]) for name in ("invocation_id", "function_id")]
    await connection.send_message(jsontext.build([("type", b'"invocationresult"'), *ids, outcome]).decode())
