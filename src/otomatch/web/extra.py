"""Check that the optional packages of the server are installed."""

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
    """Check that the server can run, without loading any of its packages.

    Raises:
        MissingDependencyError: A package is missing, or the operating system is Windows.
    """
    if find_spec("resource") is None:  # in Python's standard library except on Windows
        raise MissingDependencyError(
            "the server cannot limit its decoders on Windows, so it runs on Linux and macOS only; "
            "on Windows, run it in WSL, or search from the command line or Python"
        )
    missing = [name for module, name in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise MissingDependencyError(
            f"the server needs {', '.join(missing)}, which is not installed; "
            "install it with: pip install 'otomatch[web]'"
        )
