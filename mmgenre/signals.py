"""The signals that ask a command to end, and what a closed terminal needs before it can."""

from __future__ import annotations

import errno
import os
import signal

# Those that whoever started us has ignored, as nohup has SIGHUP, stay ignored.
SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
# Those that a terminal sends to every process of a command: by Ctrl-C, and when it is closed.
OF_TERMINAL = (signal.SIGINT, signal.SIGHUP)
# That come twice if they come: the second one asks for nothing that the first has not.
REPEATED = (signal.SIGHUP,)


def leave_closed_terminal() -> None:
    """Lets output to a terminal that was closed go nowhere: it would fail, and the end with it."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError as error:
            if error.errno == errno.EIO:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
