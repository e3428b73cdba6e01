"""What thousands of routes cost: each to register and to take out, and each request, as much as one."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import pytest

from iii_fast.contracts import Route
from tests.http.conftest import Open
from tests.http.site import Site, request, returns

FEW, MANY = 500, 8_000
TIMES_MAX = 6
"""How much more each of many may cost than each of few: what no longer fits into the cache costs some, and what grows
with their number would cost sixteen times as much."""
ROUNDS = 5

SHAPES: dict[str, Callable[[int], str]] = {
    "beside each other": lambda n: f"a{n}/:x",
    "below one parameter": lambda n: f":x/a{n}",
    "deep": lambda n: "/".join(str(n)) + "/:x/b/*rest",
    "one path": lambda n: f"{n % 500}/x",
}


def seconds_each(site: Site, count: int, shape: Callable[[int], str]) -> tuple[float, float]:
    """Processor seconds to register one of so many routes, and to take one out."""
    routes = [Route(1000 + n, "GET" if n % 2 else "POST", shape(n), "f") for n in range(count)]
    gc.collect()
    gc.disable()  # it would look through all the test's own objects, now and then
    try:
        start = time.process_time()
        for route in routes:
            site.plane.bind_route(route)
        registered = time.process_time()
        for route in routes:
            site.plane.unbind_route(route.id)
        ended = time.process_time()
    finally:
        gc.enable()
    return (registered - start) / count, (ended - registered) / count


@pytest.mark.parametrize("shape", SHAPES)
def test_registering_and_taking_out_does_not_grow(open_site: Open, shape: str) -> None:
    few, many = [], []
    for _ in range(ROUNDS):
        few.append(seconds_each(open_site(), FEW, SHAPES[shape]))
        many.append(seconds_each(open_site(), MANY, SHAPES[shape]))
    # The best of several: whatever else the machine does only adds.
    for step in range(2):
        ratio = min(one[step] for one in many) / min(one[step] for one in few)
        assert ratio < TIMES_MAX, f"each of {MANY} routes costs {ratio:.1f} times as much as each of {FEW}"


def test_a_request_costs_the_same_among_many_routes(open_site: Open) -> None:
    def prepared(count: int) -> Callable[[], float]:
        site = open_site()
        site.functions["f"] = returns({"body": 1})
        for n in range(count):
            site.route(f"a{n}/:x")
        client, raw = site.client(), request(f"/a{count // 2}/1")

        def seconds() -> float:
            start = time.process_time()
            for _ in range(50):
                client.send(raw)
            took = time.process_time() - start
            assert [one.status for one in client.responses()] == [200] * 50
            return took

        return seconds

    one, many = prepared(1), prepared(MANY)
    gc.collect()
    gc.disable()
    try:
        # By turns, and the best of each: whatever else the machine does only adds.
        pairs = [(one(), many()) for _ in range(4 * ROUNDS)]
    finally:
        gc.enable()
    assert min(of_many for _, of_many in pairs) / min(of_one for of_one, _ in pairs) < 1.8
