"""The mail of hubs whose events nobody handles: those of our own pages, which need no worker."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django_hub.stores.base import Store
from django_hub.stores.ops import Commit, Lease


async def drop_mail(store: Store, hubs: Sequence[str]) -> None:
    """Take it and throw it away. Raises `Unavailable`."""
    claims = await store.claim(hubs, f"unheard.{uuid.uuid4().hex}")
    while held := [claim for claim in claims if claim.lease is Lease.HELD]:
        claims = await store.commit(
            [Commit(claim.hub, claim.token, claim.batch[-1].position) for claim in held]
        )
