"""The package, built, unpacked, and an empty environment with its requirements: each once for all tests here."""

import zipfile
from pathlib import Path

import pytest

from scripts import package


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what is deployed, and nothing beside it."""
    folder = tmp_path_factory.mktemp("package")
    package.build(package.ROOT, folder / "package.zip")
    with zipfile.ZipFile(folder / "package.zip") as archive:
        archive.extractall(folder / "app")
    return folder / "app"


@pytest.fixture(scope="session")
def python(app: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of the environment; `uv pip check` found nothing missing in it."""
    return package.create_environment(tmp_path_factory.mktemp("environment") / "env", app / "requirements.txt")
