"""A migration or self-test that does nothing, or fails as the test wants."""

from scepd.app.run_once import run_to_end
from tests.app.tiny import once

if __name__ == "__main__":
    run_to_end(once)
