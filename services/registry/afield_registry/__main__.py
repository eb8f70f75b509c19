"""`python -m afield_registry`: the registry as a process of its own."""

import sys

from afield_common.main import run_service
from afield_registry.service import RegistryService
from afield_registry.settings import RegistrySettings

if __name__ == "__main__":
    sys.exit(run_service(RegistryService, RegistrySettings))
