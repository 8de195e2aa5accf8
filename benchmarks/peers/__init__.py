"""Other servers that do the same: each in its recommended form, in a folder of its own.

``python -m benchmarks.peers install`` installs what they need; one that is missing is left out.
"""

from benchmarks.peers import bun, nchan, python_socketio, socketio
from benchmarks.peers.peer import Peer

PEERS = (python_socketio.PEER, socketio.PEER, nchan.PEER, bun.PEER)

__all__ = ["PEERS", "Peer"]
