"""The published SDKs over wss://, with a CA of the tests' own."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.support import sdks
from tests.support.certificates import Certificates
from tests.support.engine_process import BACKENDS, EngineProcess
from tests.support.naming import unique


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Those of these tests."""
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module", params=BACKENDS)
def secure_engine(request: pytest.FixtureRequest, certificates: Certificates) -> Generator[EngineProcess]:
    """A running engine with a certificate."""
    with EngineProcess(request.param, *certificates.flags) as started:
        yield started


def test_calls_and_state(secure_engine: EngineProcess, certificates: Certificates, sdk: str) -> None:
    with sdks.worker(sdk, secure_engine.url, certificates.environment) as worker:
        echo, scope, value = unique("tls::echo"), unique("tls"), "x" * 30_000
        worker.do("function", id=echo, behaviour="echo")
        assert worker.call(echo, {"n": value}) == {"n": value}
        worker.call("state::set", {"scope": scope, "key": "k", "value": value})
        assert worker.call("state::get", {"scope": scope, "key": "k"}) == value
