"""python -m benchmarks.peers: which peers are here; with ``install``, installs what is missing."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from benchmarks.peers import PEERS, Peer
from tests.live.servers import ROOT


def _install(peer: Peer) -> str:
    """What went wrong, or nothing."""
    if peer.root and os.geteuid() != 0:
        return "only root can: " + " && ".join(f"sudo {' '.join(command)}" for command in peer.install)
    # The runlevel keeps a package from starting its service.
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in peer.install:
        try:
            done = subprocess.run(command, cwd=ROOT, env=env, check=False)
        except FileNotFoundError:
            return f"there is no {command[0]}"
        if done.returncode:
            return f"{' '.join(command)} ended with {done.returncode}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["list", "install"], default="list")
    wanted = parser.parse_args().what
    status = 0
    for peer in PEERS:
        problem = _install(peer) if wanted == "install" and peer.missing() else ""
        missing = problem or peer.missing()
        status |= wanted == "install" and bool(missing)
        print(f"{peer.name}: {missing or peer.version()}", flush=True)
    return status


sys.exit(main())
