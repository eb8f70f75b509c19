"""`python -m afield_gateway`: the gateway as a process of its own."""

import sys

from afield_common.main import run_service
from afield_gateway.service import GatewayService
from afield_gateway.settings import GatewaySettings

if __name__ == "__main__":
    sys.exit(run_service(GatewayService, GatewaySettings))
