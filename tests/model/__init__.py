"""Clients of ``hub.v1``, and raw ones, at two servers, in any interleaving: no client misses a message
unawares, and none of its own is lost or doubled.

Everything between is bad: the layer loses, doubles and reorders what relays send each other and workers are
woken by, calls of the store are late or their replies get lost, clients drop unnoticed, servers die without
a word, and the store loses its data or goes back to what it was. All is one process on a loop whose time
jumps to what is due next, so hours take seconds, and a seed fails again. The store is that in memory, or
that on a real broker (`tests.model.broker`).
"""
