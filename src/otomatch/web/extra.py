"""Whether what the server needs beyond otomatch itself is installed."""

from importlib.util import find_spec

from otomatch.errors import MissingDependencyError

_PACKAGES = {
    "cachetools": "cachetools",
    "fastapi": "fastapi",
    "PIL": "pillow",
    "python_multipart": "python-multipart",
    "sklearn": "scikit-learn",
    "uvicorn": "uvicorn",
}


def check_installed() -> None:
    """See that the server can run, before anything else is loaded.

    Raises:
        MissingDependencyError: it cannot.
    """
    if find_spec("resource") is None:  # part of Python where it is not Windows
        raise MissingDependencyError(
            "otomatch serve runs on Linux and macOS only, by whose means it guards its decoders; "
            "on Windows, run it in WSL, or use otomatch search"
        )
    missing = [name for module, name in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise MissingDependencyError(
            f"otomatch serve needs {', '.join(missing)}; "
            "install what is missing with: pip install 'otomatch[web]'"
        )
