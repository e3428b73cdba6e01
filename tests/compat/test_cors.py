"""A function of a published SDK behind http, asked as a browser asks for a page of another origin."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import http, sdks
from tests.support.engine_process import BACKENDS, EngineProcess
from tests.support.naming import unique

SHOP = "https://shop.example"
CONFIG = """
workers:
- name: http
  config:
    cors: {allowed_origins: ["https://Shop.example:443"], allowed_methods: [PUT]}
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_pages_of_the_list_may_read(backend: str, sdk: str, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    with EngineProcess(backend, "-c", str(config), "--strict") as engine, sdks.worker(sdk, engine.url) as worker:
        function = unique("shop::http")
        worker.do("function", id=function, behaviour="reply", value={"body": {"made": True}})
        trigger = {"api_path": "made", "http_method": "PUT"}
        worker.do("trigger", type="http", function_id=function, config=trigger, handle="made")
        worker.taken_in()
        url = engine.http_url("made")
        for origin, allowed in ((SHOP, SHOP), ("https://other.example", None), ("http://shop.example", None)):
            asked = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
            before = http.request("OPTIONS", url, headers=asked)
            answer = http.request("PUT", url, {}, {"Origin": origin})
            lost = http.request("GET", engine.http_url("none-such"), headers={"Origin": origin})
            assert (before.status, answer.status, answer.body, lost.status) == (200, 200, {"made": True}, 404)
            for response in (before, answer, lost):
                assert response.headers.get("access-control-allow-origin") == allowed
                assert response.headers["vary"] == "Origin"
            assert before.headers.get("access-control-allow-methods") == (allowed and "PUT")
