"""Where things are, read once."""

import re
from pathlib import Path

from tests.infra.bicep import File, read

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
FILES: dict[str, File] = {path.name: read(path) for path in sorted(INFRA.glob("*.bicep"))}
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def blocks(page: str, language: str) -> list[str]:
    """The page's code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
