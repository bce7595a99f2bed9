"""Run gunicorn on a listening socket that somebody else holds, as systemd's sockets are: `activated.py SOCKET …`.

The listening socket comes over the Unix socket SOCKET; what follows are gunicorn's arguments. Needs Python alone, so
that it starts any release.
"""

import os
import runpy
import socket
import sys

with socket.socket(socket.AF_UNIX) as way:
    way.connect(sys.argv[1])
    held = socket.recv_fds(way, 1, 1)[1][0]
os.dup2(held, 3)  # by systemd's rule: from 3 on, with LISTEN_FDS of them
if held != 3:
    os.close(held)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
del sys.argv[1]
runpy.run_module("gunicorn", run_name="__main__", alter_sys=True)
