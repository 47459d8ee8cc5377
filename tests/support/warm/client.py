"""``python -I -S client.py SOCKET PYTHON WORD...``: do ``PYTHON WORD...`` in a fork of the server at this socket."""

import json
import os
import socket
import sys

place, python, *words = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as channel:
    channel.connect(place)
    request = {"python": python, "words": words, "environment": dict(os.environ), "folder": os.getcwd()}  # noqa: PTH109
    socket.send_fds(channel, [b"!"], [0, 1, 2])
    channel.sendall(json.dumps(request).encode() + b"\n")
    status = int(channel.makefile().readline())
if os.WIFSIGNALED(status):
    os.kill(os.getpid(), os.WTERMSIG(status))
os._exit(os.waitstatus_to_exitcode(status))
