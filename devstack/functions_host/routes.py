"""HTTP route templates: which function a path belongs to, and with which route parameters. Pure.

The templates are ASP.NET Core's, which Azure Functions uses (Microsoft Learn, "Azure Functions HTTP trigger",
Customize the HTTP endpoint; "Routing in ASP.NET Core", Route templates): literal segments compared without
case, `{name}`, `{name?}`, `{name=default}`, `{name:constraint}` and a last `{*name}` for the rest of the path.
Of several that match, the more specific wins: literal, constrained, plain, rest, segment by segment.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from devstack.functions_host.errors import HostError

_CONSTRAINTS = {
    "": r"[^/]+",
    "alpha": r"[A-Za-z]+",
    "bool": r"(?i:true|false)",
    "int": r"-?\d+",
    "long": r"-?\d+",
    "guid": r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
}
_PARAMETER = re.compile(r"\{(\*{0,2})(\w+)(?::(\w+))?(?:=([^{}?]*))?(\?)?\}")


@dataclass(frozen=True)
class Route:
    """A template made ready to be compared. Of those that match, the one with the smallest `specificity` wins."""

    template: str
    pattern: re.Pattern[str]
    defaults: tuple[tuple[str, str], ...]
    specificity: tuple[int, ...]

    def match(self, path: str) -> dict[str, str] | None:
        """The route parameters of `path` (still percent-encoded, no leading slash), or None when it is another's."""
        match = self.pattern.fullmatch(path)
        if match is None:
            return None
        given = {name: unquote(value) for name, value in match.groupdict().items() if value}
        return dict(self.defaults) | given


def compile_route(template: str) -> Route:
    """Parse `template`. Raises HostError for what it cannot honour, such as an unknown constraint."""
    pattern = ""
    defaults: list[tuple[str, str]] = []
    specificity: list[int] = []
    segments = [segment for segment in template.strip("/").split("/") if segment]
    for position, segment in enumerate(segments):
        separator = "/" if position else ""
        parameter = _PARAMETER.fullmatch(segment)
        if parameter is None:
            if "{" in segment or "}" in segment:
                raise HostError(f"route {template!r}: a parameter has to be a whole segment here, unlike {segment!r}")
            pattern += separator + f"(?i:{re.escape(segment)})"
            specificity.append(0)
            continue
        rest, name, constraint, default, optional = parameter.groups()
        if (constraint or "") not in _CONSTRAINTS:
            raise HostError(f"route {template!r}: the constraint {constraint!r} is not known here")
        if rest and position < len(segments) - 1:
            raise HostError(f"route {template!r}: {segment} has to come last")
        group = f"(?P<{name}>{'.*' if rest else _CONSTRAINTS[constraint or '']})"
        may_be_absent = bool(rest or optional or default is not None)
        pattern += f"(?:{separator}{group})?" if may_be_absent else separator + group
        if default is not None:
            defaults.append((name, default))
        specificity.append(3 if rest else 1 if constraint else 2)
    return Route(template, re.compile(pattern), tuple(defaults), tuple(specificity))
