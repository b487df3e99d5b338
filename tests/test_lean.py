"""What the bus imports: nats-py without aiohttp, but for addresses that need it."""

import subprocess
import sys

import pytest

PROBE = """
import sys
from mesh.jetstream.link import Link
{first}
before = "aiohttp" in sys.modules
Link("{url}", name="n", patience_s=1, replicas=1)
import nats.aio.transport
print(before, bool(nats.aio.transport.aiohttp))
"""


@pytest.mark.parametrize(
    ("url", "first", "said"),
    [
        ("nats://localhost:1", "", "False False"),
        ("wss://localhost:1", "", "False True"),
        ("nats://localhost:1", "import aiohttp", "True False"),
    ],
)
def test_websockets_are_there_for_addresses_that_need_them(url: str, first: str, said: str) -> None:
    probe = PROBE.format(url=url, first=first)
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout.strip() == said
