"""`python -m afield_scheduler`: the scheduler as a process of its own."""

import sys

from afield_common.main import run_service
from afield_scheduler.service import SchedulerService
from afield_scheduler.settings import SchedulerSettings

if __name__ == "__main__":
    sys.exit(run_service(SchedulerService, SchedulerSettings))
