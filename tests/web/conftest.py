"""Fixtures of the web tests."""

import pytest
from twisted.logger import globalLogPublisher

from scepd.observe.log import LineObserver


@pytest.fixture
def lines():
    """What the log says, as logfmt lines."""
    written = []
    observer = LineObserver(written.append)
    globalLogPublisher.addObserver(observer)
    yield written
    globalLogPublisher.removeObserver(observer)
