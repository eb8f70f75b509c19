"""`python -m afield_worker`: the worker as a process of its own."""

import sys

from afield_common.main import run_service
from afield_worker.service import WorkerService
from afield_worker.settings import WorkerSettings

if __name__ == "__main__":
    sys.exit(run_service(WorkerService, WorkerSettings))
