"""Serves the installed Open WebUI on a free loopback port for a test, and ends when the test does.

The application is the untouched `open_webui.main:app`. Binding here, before the import, means that no other
process can take the port in between. Standard input is a leash: it reaches its end when the test process is
gone, however that ended.
"""

import os
import socket
import sys
import threading

import uvicorn


def end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    print(f"open-webui-port={listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config("open_webui.main:app", forwarded_allow_ips="*", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


# The backend's worker processes (anyio.to_process) import this file again.
if __name__ == "__main__":
    main()
