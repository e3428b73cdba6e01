"""The snippets of the State page, character by character as it prints them, on the SDK that it is written for.

``page/`` holds the three TypeScript blocks in the page's order; together they are one program. The types are stripped,
nothing is checked: the page does not import its ``ApiRequest``.
"""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support import http, raw_client, sdks
from tests.support.deadlines import START_S
from tests.support.engine_process import EngineProcess
from tests.support.line_process import LineProcess
from tests.support.polling import eventually
from tests.support.steered_worker import CallFailed, SteeredWorker

PAGE = sorted((sdks.SOURCES / "page").glob("*.ts"))


@pytest.fixture(scope="module")
def program() -> str:
    """The page's program with its types stripped, beside the installed packages."""
    esbuild = sdks.installed(sdks.CACHE / "node" / "node_modules" / ".bin" / "esbuild")
    source = "\n".join(snippet.read_text() for snippet in PAGE)
    stripped = subprocess.run(
        [esbuild, "--loader=ts", "--format=esm"], input=source, capture_output=True, text=True, check=True
    )
    return sdks.node_program("state_page.mjs", stripped.stdout)


@pytest.fixture(scope="module")
def page(program: str, engine: EngineProcess) -> Generator[EngineProcess]:
    """An engine on which the page's program runs; all its functions are there."""
    with LineProcess(["node", program], {"III_URL": engine.url}), sdks.worker("npm-0.9.0", engine.url) as looker:

        def all_registered() -> None:
            listed = looker.call("engine::functions::list", {})["functions"]
            functions = {function["function_id"] for function in listed}
            assert {"users.update_status", "users.get_status", "cron.orders_audit"} <= functions
            assert http.request("GET", engine.http_url("users/nobody/status")).body == {"error": "User not found"}

        eventually(all_registered, timeout_s=START_S)
        yield engine


@pytest.fixture(scope="module")
def other(page: EngineProcess) -> Generator[SteeredWorker]:
    """Another worker on the same SDK."""
    with sdks.worker("npm-0.9.0", page.url) as started:
        yield started


def test_the_page_has_three_snippets() -> None:
    assert [snippet.name for snippet in PAGE] == ["1_writing_state.ts", "2_reading_state.ts", "3_batch_read.ts"]


def test_writing_state(page: EngineProcess, other: SteeredWorker) -> None:
    answer = http.request("POST", page.http_url("users/u1/status"), {"status": "away"})
    assert (answer.status, answer.body) == (200, {"userId": "u1", "status": "away"})
    assert other.call("state::get", {"scope": "users", "key": "u1"})["status"] == "away"


def test_writing_state_without_a_status(page: EngineProcess) -> None:
    answer = http.request("POST", page.http_url("users/u2/status"), {})
    assert (answer.status, answer.body) == (200, {"userId": "u2", "status": "active"})


def test_reading_state(page: EngineProcess, other: SteeredWorker) -> None:
    value = {"status": "busy", "updatedAt": "2026-01-01T00:00:00.000Z"}
    other.call("state::set", {"scope": "users", "key": "u3", "value": value})
    answer = http.request("GET", page.http_url("users/u3/status"))
    assert (answer.status, answer.body) == (200, value)


def test_reading_state_of_an_unknown_user(page: EngineProcess) -> None:
    answer = http.request("GET", page.http_url("users/nobody/status"))
    assert (answer.status, answer.body) == (404, {"error": "User not found"})


def test_batch_read_enqueues_a_notification_for_each_overdue_order(page: EngineProcess, other: SteeredWorker) -> None:
    now = datetime.now(UTC)
    orders: dict[str, dict[str, Any]] = {
        "late": {"shipDate": (now - timedelta(days=1)).isoformat(), "complete": False, "status": "packed"},
        "done": {"shipDate": (now - timedelta(days=1)).isoformat(), "complete": True, "status": "sent"},
        "early": {"shipDate": (now + timedelta(days=1)).isoformat(), "complete": False, "status": "new"},
    }
    for key, order in orders.items():
        other.call("state::set", {"scope": "orders", "key": key, "value": {"id": key, **order}})
    # The clock would call it at the next fifth minute; the cron trigger has tests of its own, with a clock of theirs.
    other.call("cron.orders_audit", {})

    # Nobody subscribed when it was enqueued: it has waited for this subscriber.
    other.do("function", id="page.notify", behaviour="reply", value=None)
    config = {"topic": "notification"}
    other.do("trigger", type="durable:subscriber", function_id="page.notify", config=config, handle="notify")
    notification = {"orderId": "late", "templateId": "order-audit-warning", "status": "packed"}
    other.expect("delivered", function_id="page.notify", data=notification)
    assert len(other.events("delivered", function_id="page.notify")) == 1
    other.do("untrigger", handle="notify")


def test_an_empty_scope_is_an_empty_list(other: SteeredWorker) -> None:
    assert other.call("state::list", {"scope": "no orders yet"}) == []


async def test_the_cron_expression_of_the_page_is_accepted(page: EngineProcess) -> None:
    # This SDK does not read refusals, so the same registration is made by hand.
    async with raw_client.connect(page.worker) as client:
        cron = {"trigger_type": "cron", "function_id": "page.tick"}
        await client.send("registertrigger", id="good", **cron, config={"expression": "*/5 * * * *"})
        await client.send("registertrigger", id="bad", **cron, config={"expression": "every five minutes"})
        refusal = await client.expect("triggerregistrationresult", id="bad")
        assert refusal["error"]["code"] == "trigger_registration_failed"


def test_the_reference_table_of_the_page(other: SteeredWorker) -> None:
    at = {"scope": "table", "key": "k"}
    assert other.call("state::set", {**at, "value": {"n": 1}}, void=True) is None
    assert other.call("state::get", at) == {"n": 1}
    assert other.call("state::list", {"scope": "table"}) == [{"n": 1}]
    assert other.call("state::delete", at, void=True) is None
    assert other.call("state::get", at) is None


def test_a_missing_page_function_is_no_mystery(other: SteeredWorker) -> None:
    with pytest.raises(CallFailed) as failure:
        other.call("users.delete_status", {})
    assert failure.value.code == "function_not_found"
