"""Values as text for programs: JSON, CSV and TSV cells.

The rule: no text out of the tables can act: not on a terminal (control characters are escaped), not in a spreadsheet (a
CSV cell never begins a formula).
"""

import json
import re
from typing import Any

_CONTROLS_IN_JSON = re.compile("[\x7f-\x9f]")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROLS_IN_CSV = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a cell for a formula (OWASP, "CSV Injection")."""


def json_text(value: Any, indent: int | None = None) -> str:
    """As JSON on one line, or indented. Control characters are escaped, those beyond ASCII too."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=(",", ": " if indent else ":"))
    return _CONTROLS_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def csv_cell(value: Any) -> str:
    """A value in CSV: a text that a spreadsheet would take for a formula gets a `'` in front."""
    text = _CONTROLS_IN_CSV.sub(_escape, _plain(value))
    return "'" + text if isinstance(value, str) and text.startswith(_FORMULA) else text


def tsv_cell(value: Any) -> str:
    r"""A value in TSV: a tab is `\t`, a line feed `\n`, another control character `\xNN`."""
    return _CONTROLS.sub(_escape, _plain(value))


def _plain(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case _:
            return json_text(value)


def _escape(found: re.Match[str]) -> str:
    return repr(found[0])[1:-1]
