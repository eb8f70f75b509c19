"""Ray on this host alone, without the dashboard."""

import logging
import os

import ray

from benchmarks.peers.programs.servers import folder

CORES = os.cpu_count() or 1


def start_ray() -> None:
    """Start Ray; its processes end with this one, or with `ray.shutdown()`."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=CORES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(folder() / "ray"),
    )
