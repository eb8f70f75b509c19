"""Images: so far the default one."""

import pytest

from afield import Image
from afield.exception import UnimplementedError


def test_default_image_is_there() -> None:
    """`Image.debian_slim()` is what functions run on anyway."""
    assert isinstance(Image.debian_slim(), Image)


def test_other_python_versions_are_refused() -> None:
    """The workers' own interpreter is the only one."""
    with pytest.raises(UnimplementedError, match=r"3\.9"):
        Image.debian_slim(python_version="3.9")
    with pytest.raises(UnimplementedError, match="force_build"):
        Image.debian_slim(force_build=True)


@pytest.mark.parametrize("method", ["pip_install", "apt_install", "run_commands", "add_local_dir", "env"])
def test_layers_say_that_they_are_missing(method: str) -> None:
    """A layer that would be ignored is refused, by name."""
    with pytest.raises(UnimplementedError, match=method):
        getattr(Image.debian_slim(), method)("x")


@pytest.mark.parametrize("method", ["from_registry", "from_dockerfile", "micromamba"])
def test_other_bases_say_that_they_are_missing(method: str) -> None:
    """So is another base."""
    with pytest.raises(UnimplementedError, match=method):
        getattr(Image, method)("x")
