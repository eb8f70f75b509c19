"""Image: what a container's file system holds. So far the worker's own interpreter and its packages."""

from collections.abc import Callable
from typing import Any, NoReturn

from afield.exception import UnimplementedError

_STATIC = [
    "from_aws_ecr",
    "from_dockerfile",
    "from_gcp_artifact_registry",
    "from_id",
    "from_name",
    "from_registry",
    "from_scratch",
    "micromamba",
]
_CHAINED = [
    "add_local_dir",
    "add_local_file",
    "add_local_python_source",
    "apt_install",
    "build",
    "cmd",
    "dockerfile_commands",
    "entrypoint",
    "env",
    "imports",
    "micromamba_install",
    "pip_install",
    "pip_install_from_pyproject",
    "pip_install_from_requirements",
    "pip_install_private_repos",
    "poetry_install_from_file",
    "run_commands",
    "run_function",
    "shell",
    "uv_pip_install",
    "uv_sync",
    "workdir",
]


class Image:
    """A description of an image; making one does no I/O."""

    @staticmethod
    def debian_slim(python_version: str | None = None, force_build: bool = False) -> "Image":
        """Return the default image: the interpreter that the workers run on, with the packages installed there.

        Raises UnimplementedError for another Python version than the default.
        """
        if python_version is not None:
            raise UnimplementedError(
                f"Image.debian_slim(python_version={python_version!r}) is not available yet: "
                f"functions run on the workers' own interpreter"
            )
        if force_build:
            raise UnimplementedError(
                "Image.debian_slim(force_build=True) is not available yet: nothing is built"
            )
        return Image()

    def __repr__(self) -> str:
        return "Image.debian_slim()"


def _missing(name: str) -> Callable[..., NoReturn]:
    def refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
        raise UnimplementedError(
            f"Image.{name}() is not available yet: functions run on the workers' own interpreter, "
            f"with the packages installed there"
        )

    refuse.__name__ = name
    refuse.__doc__ = "Not available yet."
    return refuse


for _name in _STATIC:
    setattr(Image, _name, staticmethod(_missing(_name)))
for _name in _CHAINED:
    setattr(Image, _name, _missing(_name))
