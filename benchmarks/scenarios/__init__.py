"""All scenarios."""

from benchmarks.scenarios import (
    fan_out,
    growth,
    looks,
    many_hubs,
    measured,
    memory,
    proof,
    rechecks,
    relays,
    returns,
    spoken,
    stalled,
    there_and_back,
    through_redis,
)

SCENARIOS = [
    *proof.SCENARIOS,
    *fan_out.SCENARIOS,
    *spoken.SCENARIOS,
    *measured.SCENARIOS,
    *through_redis.SCENARIOS,
    *memory.SCENARIOS,
    *many_hubs.SCENARIOS,
    *stalled.SCENARIOS,
    *growth.SCENARIOS,
    *relays.SCENARIOS,
    *returns.SCENARIOS,
    *there_and_back.SCENARIOS,
    *rechecks.SCENARIOS,
    *looks.SCENARIOS,
]
