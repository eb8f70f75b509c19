"""afield_worker.gpu_names: what functions call a device."""

import pytest

from afield.resources import parse_gpu
from afield_worker.gpu_names import kind_of


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100"),
        ("NVIDIA H100 NVL", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA H200 NVL", "H200"),
        ("NVIDIA B200", "B200"),
        ("NVIDIA GB200", "GB200"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA A100-PCIE-40GB", "A100-40GB"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB"),
        ("A100-SXM-80GB", "A100-80GB"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40", "L40"),
        ("NVIDIA L40S", "L40S"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("Tesla P100-PCIE-16GB", "P100"),
        ("Tesla K80", "K80"),
        ("NVIDIA RTX A6000", "RTX-A6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX-6000-ADA"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("NVIDIA GeForce RTX 4080 SUPER", "RTX-4080-SUPER"),
        ("NVIDIA GeForce RTX 3060 Ti", "RTX-3060-TI"),
        ("NVIDIA TITAN V", "TITAN-V"),
        ("NVIDIA Graphics Device", "GRAPHICS-DEVICE"),
        ("", "UNKNOWN"),
    ],
)
def test_names(name: str, kind: str) -> None:
    """Drivers' names become what a function may ask for."""
    assert kind_of(name) == kind
    assert parse_gpu(kind).name == kind


@pytest.mark.parametrize(("mib", "kind"), [(81920, "A100-80GB"), (40537, "A100-40GB"), (0, "A100")])
def test_memory_tells_what_a_name_leaves_open(mib: int, kind: str) -> None:
    """A model with two sizes is told apart by its memory."""
    assert kind_of("NVIDIA A100", mib) == kind
