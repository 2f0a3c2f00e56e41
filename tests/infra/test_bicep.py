"""The Bicep files hold together: syntax, names, parameters of modules. And they keep the rules of docs/operations.md.

There is no compiler here. What is checked is what tree-sitter's grammar and the declarations tell.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra import bicep
from tests.infra.bicep import REQUIRED, Declaration, Expression, File
from tests.infra.files import FILES, INFRA, OPERATIONS, ROOT

MAIN = FILES["main.bicep"]
PARAMETERS = bicep.read(INFRA / "main.bicepparam")
FUNCTIONS = frozenset(
    {
        "empty",
        "guid",
        "last",
        "loadJsonContent",
        "loadTextContent",
        "max",
        "replace",
        "resourceGroup",
        "split",
        "string",
    }
    | {"subscription", "subscriptionResourceId", "toLower", "union", "uniqueString"}
)
"""Functions of Bicep that the files call."""
DECORATORS = frozenset({"allowed", "description", "maxLength", "maxValue", "minLength", "minValue"})
ROLES: dict[str, str] = json.loads((INFRA / "roles.json").read_text(encoding="utf-8"))
ASSIGNMENT = "Microsoft.Authorization/roleAssignments"

LEAST = {
    ("hub-access.bicep", "hub", "eventHubsDataReceiver", "appPrincipalId"),
    ("host-storage.bicep", "account", "storageBlobDataOwner", "appPrincipalId"),
    ("host-storage.bicep", "account", "storageTableDataContributor", "appPrincipalId"),
    ("rollup-storage.bicep", "account", "storageTableDataContributor", "appPrincipalId"),
    ("rollup-storage.bicep", "account", "storageBlobDataContributor", "appPrincipalId"),
    ("rollup-storage.bicep", "account", "storageTableDataReader", "readersGroupId"),
    ("telemetry.bicep", "insights", "monitoringMetricsPublisher", "appPrincipalId"),
}
"""Every role: the file, the resource that it is for, its name in roles.json, and who gets it."""


def _resources(resource_type: str) -> Iterator[tuple[File, Declaration]]:
    """All that the files create of a type."""
    for file in FILES.values():
        for resource in file.resources.values():
            if resource.of.partition("@")[0] == resource_type and not resource.existing:
                yield file, resource


def _properties(resource_type: str) -> list[dict[str, Any]]:
    found = [resource.body["properties"] for _, resource in _resources(resource_type)]
    assert found
    return found


@pytest.mark.parametrize("name", FILES)
def test_the_grammar_reads_all(name: str) -> None:
    assert bicep.faults(FILES[name]) == []


@pytest.mark.parametrize("name", FILES)
def test_what_is_named_is_declared_and_what_is_declared_is_named(name: str) -> None:
    file = FILES[name]
    used = bicep.names(file.root)
    assert used - file.declared == set()
    assert {*file.parameters, *file.variables} - used == set()
    assert bicep.functions(file.root) - FUNCTIONS - DECORATORS == set()


@pytest.mark.parametrize("name", MAIN.modules)
def test_a_module_gets_the_parameters_that_it_has(name: str) -> None:
    module = MAIN.modules[name]
    wanted = FILES[module.of].parameters
    given = module.body["params"]
    assert given.keys() - wanted.keys() == set()
    assert {name for name, default in wanted.items() if default is REQUIRED} - given.keys() == set()


@pytest.mark.parametrize("name", MAIN.modules)
def test_a_parameter_that_is_handed_on_keeps_its_type(name: str) -> None:
    module = MAIN.modules[name]
    wanted = FILES[module.of].types
    for parameter, given in module.body["params"].items():
        if isinstance(given, Expression) and given.text in MAIN.types:
            assert MAIN.types[given.text] == wanted[parameter], parameter


def test_every_file_is_a_module_of_main() -> None:
    assert {"main.bicep", *(module.of for module in MAIN.modules.values())} == FILES.keys()


def test_what_is_taken_from_a_module_is_its_output() -> None:
    text = MAIN.path.read_text(encoding="utf-8")
    taken = re.findall(r"(\w+)\.outputs\.(\w+)", text)
    assert taken
    missing = [(m, output) for m, output in taken if output not in FILES[MAIN.modules[m].of].outputs]
    assert missing == []
    always = [name for name, module in MAIN.modules.items() if not module.conditional]
    assert [m for m, _ in taken if m not in always] == []  # a module that is not deployed has no outputs


def test_what_is_loaded_is_there() -> None:
    for file in FILES.values():
        for path in re.findall(r"load\w+Content\('([^']+)'\)", file.path.read_text(encoding="utf-8")):
            assert (INFRA / path).is_file(), f"{file.path.name}: {path}"


def test_the_parameter_file_sets_each_parameter_to_the_default_that_main_has() -> None:
    assert PARAMETERS.parameters.keys() == MAIN.parameters.keys()
    for name, given in PARAMETERS.parameters.items():
        assert isinstance(given, Expression)
        read = re.fullmatch(r"(?:(int|bool)\()?readEnvironmentVariable\('([A-Z_]+)'(?:, '([^']*)')?\)\)?", given.text)
        assert read, f"{name}: {given.text}"
        kind, _, default = read.groups()
        assert (kind or "string") == MAIN.types[name]
        wanted = MAIN.parameters[name]
        assert default == (None if wanted is REQUIRED else str(wanted).lower() if kind == "bool" else str(wanted)), name


def test_the_page_lists_each_parameter_with_its_variable_and_default() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", OPERATIONS, re.MULTILINE)
    texts = [given.text for given in PARAMETERS.parameters.values()]
    given = [re.findall(r"'([^']*)'", text) for text in texts]
    wanted = [(v[0], "required" if len(v) == 1 else f"`{v[1]}`" if v[1] else "empty") for v in given]
    assert rows == wanted


def test_what_the_pages_set_and_get_in_azd_is_there() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    variables = set(re.findall(r"'([A-Z_]+)'", "".join(given.text for given in PARAMETERS.parameters.values())))
    text = " ".join(pages.split())
    assert set(re.findall(r"azd env set ([A-Z]\w+)", text)) - variables - {"NAME"} == set()
    assert set(re.findall(r"azd env get-value (\w+)", text)) - MAIN.outputs.keys() == set()


def test_roles_are_the_least_and_each_is_for_a_resource() -> None:
    assigned = set()
    for file, resource in _resources(ASSIGNMENT):
        scope, properties = resource.body["scope"], resource.body["properties"]
        assert scope.text in file.resources, f"{resource.name} is for more than a resource"
        (role,) = re.findall(r"roles\.(\w+)\)$", properties["roleDefinitionId"].text)
        principal = properties["principalId"].text
        assert resource.body["name"].text == f"guid({scope.text}.id, {principal}, roles.{role})"
        assert properties["principalType"] == ("Group" if principal == "readersGroupId" else "ServicePrincipal")
        assigned.add((file.path.name, scope.text, role, principal))
    assert assigned == LEAST
    assert {role for _, _, role, _ in LEAST} == ROLES.keys()


def test_the_page_lists_the_roles() -> None:
    rows = re.findall(r"^\| (?:app|readers' group) \| (?:Azure )?([\w ]+) \|", OPERATIONS, re.MULTILINE)
    assert sorted(row.replace(" ", "").lower() for row in rows) == sorted(role.lower() for _, _, role, _ in LEAST)


def test_no_key_is_read_or_allowed() -> None:
    for file in FILES.values():
        text = file.path.read_text(encoding="utf-8")
        assert not re.search(
            r"listKeys|listAccountSas|AccountKey|SharedAccessKey|primaryKey|secure\(", text, re.IGNORECASE
        )
    for account in _properties("Microsoft.Storage/storageAccounts"):
        assert account["allowSharedKeyAccess"] is False
        assert account["allowBlobPublicAccess"] is False
        assert account["defaultToOAuthAuthentication"] is True
    assert [insights["DisableLocalAuth"] for insights in _properties("Microsoft.Insights/components")] == [True]
    assert [w["features"] for w in _properties("Microsoft.OperationalInsights/workspaces")] == [
        {"disableLocalAuth": True}
    ]
    assert _properties("Microsoft.Web/sites/basicPublishingCredentialsPolicies") == [{"allow": False}] * 2


def test_the_hub_takes_keys_only_where_the_parameter_says_so() -> None:
    (namespace,) = _properties("Microsoft.EventHub/namespaces")
    assert namespace["disableLocalAuth"].text == "!localAuth"
    (policy,) = _resources("Microsoft.EventHub/namespaces/authorizationRules")
    assert policy[1].conditional


def test_tls_is_1_2_at_least() -> None:
    for account in _properties("Microsoft.Storage/storageAccounts"):
        assert account["minimumTlsVersion"] == "TLS1_2"
        assert account["supportsHttpsTrafficOnly"] is True
    assert [namespace["minimumTlsVersion"] for namespace in _properties("Microsoft.EventHub/namespaces")] == ["1.2"]
    (site,) = _properties("Microsoft.Web/sites")
    assert site["httpsOnly"] is True
    assert site["siteConfig"]["minTlsVersion"] == site["siteConfig"]["scmMinTlsVersion"] == "1.2"


def test_the_app_runs_the_python_of_the_project() -> None:
    (site,) = _properties("Microsoft.Web/sites")
    version = (INFRA.parent / ".python-version").read_text(encoding="utf-8").strip()
    assert site["functionAppConfig"]["runtime"] == {"name": "python", "version": ".".join(version.split(".")[:2])}
