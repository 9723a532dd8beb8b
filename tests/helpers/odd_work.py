"""Work for processes, to be imported by them: some of it ends or never returns."""

from __future__ import annotations

import signal
import time

from mmgenre.workers import end_after


def odd_work(job: str) -> str:
    """The job in capitals, within 3 s; "crash" ends the process, "stuck" never returns."""
    end_after(3)
    try:
        if job.endswith("crash"):
            signal.raise_signal(signal.SIGSEGV)
        if job.endswith("stuck"):
            time.sleep(10_000)
        if job.endswith("wrong"):
            raise ValueError(job)
        return job.upper()
    finally:
        end_after(0)
