"""Every test of http runs on both data planes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iii_fast.contracts import Cors, Limits
from tests.http.site import PLANES, Site

Open = Callable[..., Site]


@pytest.fixture(params=sorted(PLANES))
def open_site(request: pytest.FixtureRequest) -> Open:
    """Opens a site with other limits, or other pages that may read it, than the default ones."""
    return lambda limits=None, cors=None: Site(PLANES[request.param](limits or Limits(), cors or Cors()))


@pytest.fixture
def site(open_site: Open) -> Site:
    return open_site()
