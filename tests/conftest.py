"""What tests of several rooms use."""

import pytest
from twisted.logger import globalLogPublisher


@pytest.fixture
def events():
    """What is logged meanwhile, as twisted.logger's events."""
    found = []
    globalLogPublisher.addObserver(found.append)
    yield found
    globalLogPublisher.removeObserver(found.append)
