"""Keeps the credentials of a member young while it is connected, and tells it when it is one no longer.

Credentials hold for a day. At half of their life they are renewed at the hub's door, and the connection is made again
with the new ones: a server ends a connection whose credentials have ended. Where a connection is lost, the door says
whether the member was revoked.
"""

import sys
import time
from pathlib import Path

import anyio
import anyio.to_thread

from mesh.accounts.claims import user_claims_of
from mesh.accounts.creds_file import read_creds
from mesh.errors import BadInput, BusUnavailable
from mesh.jetstream.link import Link
from mesh.membership import membership_of, renewed

_LOOK_EVERY_S = 1.0
_AWAY_S = 2.0
"""Seconds without a connection after which the door is asked whether we are still a member."""
_ASK_AGAIN_S = 10.0


async def freshen(file: Path | None) -> bool:
    """Renew credentials that are past half of their life; tell whether they are those of a member at all.

    Raises:
        BusRefused: the hub says that this is a member no longer.
        BusUnavailable: they have ended, and no hub answers.
    """
    if file is None or membership_of(file) is None:
        return False
    half, end = _ages(file)
    if time.time() >= half:
        try:
            await _renewed(file)
        except BusUnavailable:
            if time.time() >= end:
                raise
    return True


async def keep_renewed(link: Link, file: Path) -> None:
    """Renew the credentials in a file at half of their life, until cancelled.

    Raises:
        BusRefused: the hub says that this is a member no longer.
    """
    used, away_since, asked, has_told = _ages(file), 0.0, 0.0, False
    while True:
        await anyio.sleep(_LOOK_EVERY_S)
        now = time.monotonic()
        away_since = 0.0 if link.nc.is_connected else away_since or now
        is_lost = bool(away_since) and now - away_since > _AWAY_S
        is_wanted = is_lost or time.time() >= _ages(file)[0]
        if is_wanted and (not asked or now - asked > _ASK_AGAIN_S):
            asked = now
            try:
                await _renewed(file)
            except BusUnavailable as error:
                if not is_lost and not has_told:
                    has_told = True
                    sys.stderr.write(f"mesh: the credentials {file} are not renewed yet: {error}\n")
                continue
        if (kept := _ages(file)) != used and link.nc.is_connected:  # another process may have renewed them
            used = kept
            await link.nc.force_reconnect()


def _ages(file: Path) -> tuple[float, float]:
    """Return when half of the life of credentials is over, and when all of it."""
    claims = user_claims_of(read_creds(file).jwt)
    end = claims.until_s or float("inf")
    return (claims.issued_s + end) / 2, end


async def _renewed(file: Path) -> None:
    try:
        await anyio.to_thread.run_sync(renewed, file, abandon_on_cancel=True)
    except BadInput as error:  # a clock, or a certificate
        raise BusUnavailable(str(error)) from None
