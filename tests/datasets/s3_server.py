"""moto's S3 server as a process of its own: prints where it listens, and ends when its input does."""

import sys

from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
host, port = server.get_host_and_port()
print(f"listening http://{host}:{port}", flush=True)
sys.stdin.read()
