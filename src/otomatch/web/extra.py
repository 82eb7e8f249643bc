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
    missing = [name for module, name in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise MissingDependencyError(
            f"otomatch serve needs {', '.join(missing)}; "
            "install what is missing with: pip install 'otomatch[web]'"
        )
