"""How long what was read of a key may be trusted, and what that asks of who ends one.

Every process may answer requests by a read that began up to ``TRUSTED_S`` ago. Whoever revokes a key or suspends a tenant waits
a little longer before it says so: a request that comes after the answer finds no read that is older than the revocation.
So nobody sees a revoked key work, and at a thousand requests a second with one key a read serves some thirty of them.
"""

import asyncio

TRUSTED_S = 0.05
# The clocks that measure the two need not run alike.
_MARGIN = 1.2


async def forgotten() -> None:
    """Wait until every process has forgotten what it read before now. A wait that is interrupted is no harm: nobody was told."""
    await asyncio.sleep(_MARGIN * TRUSTED_S)
