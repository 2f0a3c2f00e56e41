"""The app's settings, validated at start.

The rule: what is wrong is said before the first event, with the setting's name, the reason and an example; every
mistake at once. Settings are environment variables, as Azure Functions gives them; `__` separates the parts of an
identity-based connection, by the convention of the Functions extensions.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from processors.errors import SettingsError

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_Url = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^https?://[^\s/]+(/\S*)?$")]
_ConnectionString = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        pattern=r"(?i)^(UseDevelopmentStorage=true;?|(.*;)?AccountName=.+|.*;?SharedAccessSignature=.+)$",
    ),
]
_HubConnectionString = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"(?i)^(.*;)?Endpoint=sb://.+$")]

_STORAGE_EXAMPLE = "UseDevelopmentStorage=true"


class Settings(BaseModel):
    """Every setting by its name. A field's description and example are what an error and the documentation say."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    event_hub_name: _Text = Field(
        alias="EventHubName",
        description="The Event Hub that the Batch accounts' diagnostic settings write to.",
        examples=["insights-logs-servicelog"],
    )
    event_hub_consumer_group: _Text = Field(
        alias="EventHubConsumerGroup",
        description="The consumer group that this app alone reads with.",
        examples=["batch-rollups"],
    )
    event_hub_connection: _HubConnectionString | None = Field(
        None,
        alias="EventHubConnection",
        description="Connection string of the Event Hubs namespace, with the right to listen.",
        examples=["Endpoint=sb://NAMESPACE.servicebus.windows.net/;SharedAccessKeyName=…;SharedAccessKey=…"],
    )
    event_hub_namespace: _Text | None = Field(
        None,
        alias="EventHubConnection__fullyQualifiedNamespace",
        description="Instead of EventHubConnection: the namespace's host name, read with the app's identity.",
        examples=["NAMESPACE.servicebus.windows.net"],
    )
    rollup_storage: _ConnectionString | None = Field(
        None,
        alias="RollupStorage",
        description="Connection string of the account for tables and dead letters. Default: AzureWebJobsStorage.",
        examples=[_STORAGE_EXAMPLE],
    )
    rollup_table_uri: _Url | None = Field(
        None,
        alias="RollupStorage__tableServiceUri",
        description="Instead of RollupStorage: the account's table endpoint, used with the app's identity.",
        examples=["https://ACCOUNT.table.core.windows.net"],
    )
    rollup_blob_uri: _Url | None = Field(
        None,
        alias="RollupStorage__blobServiceUri",
        description="The account's blob endpoint, for the dead letters.",
        examples=["https://ACCOUNT.blob.core.windows.net"],
    )
    rollup_client_id: _Text | None = Field(
        None,
        alias="RollupStorage__clientId",
        description="Client id of a user-assigned identity. Default: the system-assigned one.",
        examples=["00000000-0000-0000-0000-000000000000"],
    )
    host_storage: _ConnectionString | None = Field(
        None,
        alias="AzureWebJobsStorage",
        description="The Functions host's own account (checkpoints); for the tables too where RollupStorage is absent.",
        examples=[_STORAGE_EXAMPLE],
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        problems = [*self._hub_problems(), *self._storage_problems()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _hub_problems(self) -> list[str]:
        if self.event_hub_connection is None and self.event_hub_namespace is None:
            return [_line("EventHubConnection", "is missing")]
        return []

    def _storage_problems(self) -> list[str]:
        uris = (self.rollup_table_uri, self.rollup_blob_uri)
        if self.rollup_storage is not None and any(uris):
            return [_line("RollupStorage", "is set beside RollupStorage__…ServiceUri; set either, not both")]
        if self.rollup_storage is not None or all(uris):
            return []
        if self.rollup_table_uri is not None:
            return [_line("RollupStorage__blobServiceUri", "is missing beside RollupStorage__tableServiceUri")]
        if self.rollup_blob_uri is not None:
            return [_line("RollupStorage__tableServiceUri", "is missing beside RollupStorage__blobServiceUri")]
        if self.host_storage is None:
            return [_line("RollupStorage", "is missing, and so is AzureWebJobsStorage, its default")]
        return []

    @property
    def storage_connection(self) -> str | None:
        """The connection string for tables and dead letters; None where the identity is used."""
        return self.rollup_storage or (None if self.rollup_table_uri else self.host_storage)


def load(environment: Mapping[str, str]) -> Settings:
    """The settings in an environment. An empty value counts as absent. Raises SettingsError."""
    given = {alias: value for alias in NAMES if (value := environment.get(alias, "").strip())}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        lines = [line for details in error.errors(include_url=False) for line in _lines(details)]
        raise SettingsError("\n".join(["the settings are not usable:", *lines])) from None


def _lines(details: Any) -> list[str]:
    """One line a mistake. Values are left out: they may hold keys."""
    if details["type"] == "missing":
        return [_line(details["loc"][0], "is missing")]
    if details["loc"]:
        return [_line(details["loc"][0], "has the wrong form")]
    return str(details["ctx"]["error"]).splitlines()


def _line(name: str, problem: str) -> str:
    return f"  {name} {problem}; for example {name}={FIELDS[name].examples[0]}"


FIELDS: Mapping[str, Any] = {field.alias: field for field in Settings.model_fields.values() if field.alias}
NAMES = tuple(FIELDS)
