"""Notices that a cloud takes this machine away soon, from the metadata services of AWS and Google.

AWS tells it two minutes before, Google half a minute. Both services answer on the machine alone. Their addresses are
those of the clouds' own libraries, and the same variables change them: `AWS_EC2_METADATA_SERVICE_ENDPOINT` and
`GCE_METADATA_HOST`.
"""

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from http.client import HTTPConnection, HTTPException
from typing import Protocol
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from mesh.errors import leaf

LOOK_FOR_NOTICE_EVERY_S = 5.0
_WITHIN_S = 2.0
_TOKEN_S = 21600
"""Seconds for which a token of AWS's service is asked for; the most that it gives."""
_MOST_BYTES = 4096


class Notices(Protocol):
    """A metadata service; `look` blocks for a few seconds at most."""

    def look(self) -> str:
        """Return the notice in words, "" while there is none.

        Raises:
            OSError: no such service answers here.
        """


class AwsNotices:
    """Spot interruption notices of EC2, by version 2 of its metadata service: each request needs a token."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._at = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or "http://169.254.169.254"
        self._token = ""

    def look(self) -> str:
        if not self._token:
            wish = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_S)}
            status, _, self._token = _ask(self._at, "PUT", "/latest/api/token", wish)
            if status != 200:
                self._token = ""
                raise OSError(f"{self._at} gives no token")
        token = {"X-aws-ec2-metadata-token": self._token}
        status, _, body = _ask(self._at, "GET", "/latest/meta-data/spot/instance-action", token)
        if status == 404:
            return ""
        if status != 200:
            self._token = ""  # it has run out, or belongs to an earlier service
            raise OSError(f"{self._at} answers {status}")
        try:
            told = json.loads(body)
            return f"AWS will {told['action']} this machine at {told['time']}"
        except (ValueError, LookupError, TypeError):
            raise OSError(f"{self._at} is not AWS's metadata service") from None


class GoogleNotices:
    """Whether Compute Engine preempts this machine; the service proves by a header that it is Google's."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._at = f"http://{environ.get('GCE_METADATA_HOST') or 'metadata.google.internal'}"

    def look(self) -> str:
        flavor = {"Metadata-Flavor": "Google"}
        status, proof, body = _ask(self._at, "GET", "/computeMetadata/v1/instance/preempted", flavor)
        if status != 200 or proof != "Google":
            raise OSError(f"{self._at} is not Google's metadata service")
        return "Google preempts this machine" if body.strip() == "TRUE" else ""


async def until_noticed(say: Callable[[str], None], services: list[Notices] | None = None) -> str:
    """Poll the metadata services until one gives notice; return the notice in words.

    Args:
        say: told once, where no service answers.
        services: the services; None for those of AWS and Google.
    """
    asked: list[Notices] = services or [AwsNotices(os.environ), GoogleNotices(os.environ)]
    has_told = False
    while True:
        answered: list[Notices] = []
        for service in asked:
            with suppress(OSError):
                if notice := await anyio.to_thread.run_sync(service.look, abandon_on_cancel=True):
                    return notice
                answered.append(service)
        asked = answered or asked  # a machine is one cloud's
        if not answered and not has_told:
            has_told = True
            say("--spot: no metadata service of AWS or Google answers here; SIGTERM alone is a notice")
        await anyio.sleep(LOOK_FOR_NOTICE_EVERY_S)


@asynccontextmanager
async def heeding_notices(preempted: anyio.Event | None, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Set an event when this machine is to be taken away, while the block runs; do nothing without an event."""

    async def heed(noticed: anyio.Event) -> None:
        say(await until_noticed(say))
        noticed.set()

    try:
        async with anyio.create_task_group() as tasks:
            if preempted is not None:
                tasks.start_soon(heed, preempted)
            yield
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf(group) from None


def _ask(at: str, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str, str]:
    """Return status, the header `Metadata-Flavor` and the body of an answer. No proxy is used.

    Raises:
        OSError: nobody answers, or no web server.
    """
    where = urlsplit(at)
    try:
        connection = HTTPConnection(where.hostname or "", where.port or 80, timeout=_WITHIN_S)
    except (HTTPException, ValueError) as error:
        raise OSError(f"{at} is not an address: {error}") from None
    try:
        connection.request(method, path, headers=dict(headers))
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES).decode(errors="replace")
        return answer.status, answer.headers.get("Metadata-Flavor", ""), body
    except (HTTPException, UnicodeError) as error:
        raise OSError(f"{at} is no metadata service: {error}") from None
    finally:
        connection.close()
