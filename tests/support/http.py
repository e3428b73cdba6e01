"""A plain HTTP request, as any client would make it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from tests.support.deadlines import ANSWER_S


@dataclass(frozen=True, slots=True)
class Response:
    """``body`` is parsed JSON, ``None`` when there is none."""

    status: int
    headers: dict[str, str]
    body: Any


def request(method: str, url: str, body: Any = None, headers: dict[str, str] | None = None) -> Response:
    """Sends ``body`` as JSON and returns the response, whatever its status."""
    data = None if body is None else json.dumps(body).encode()
    prepared = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    if data is not None:
        prepared.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(prepared, timeout=ANSWER_S) as response:
            return _response(response.status, response)
    except urllib.error.HTTPError as error:
        with error:
            return _response(error.code, error)


def _response(status: int, response: Any) -> Response:
    text = response.read()
    return Response(status, {k.lower(): v for k, v in response.headers.items()}, json.loads(text) if text else None)
