"""Runs an embedded server as a service would: says what happened as a line of JSON, and holds it until its input ends.

Arguments: the data directory, and ``attach`` or ``own``.
"""

import json
import sys
from pathlib import Path

from storage.embedded import AlreadyRunning, EmbeddedServer


def main() -> None:
    try:
        server = EmbeddedServer.start(Path(sys.argv[1]), attach=sys.argv[2] == "attach")
    except AlreadyRunning as error:
        print(json.dumps({"running": error.pid}), flush=True)
        return
    with server:
        print(json.dumps({"url": server.connection_string, "attached": server.attached}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
