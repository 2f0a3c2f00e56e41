"""The app's settings, validated at start.

The rule: what is wrong is said before the first event, with the setting's name, the reason and an example; every
mistake at once. Settings are environment variables, as Azure Functions gives them; `__` separates the parts of an
identity-based connection, by the convention of the Functions extensions.
"""

from collections.abc import Callable, Mapping, Set
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from processors import limits
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

_Schedule = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[\d*/,A-Za-z-]+( +[\d*/,A-Za-z-]+){5}$")]
"""NCRONTAB: six fields, of which the first is seconds."""

_STORAGE_EXAMPLE = "UseDevelopmentStorage=true"


class StorageSettings(BaseModel):
    """The account for tables and dead letters. A field's description and example are what an error and the docs say."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

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
    job_buckets: int = Field(
        1,
        alias="JobBuckets",
        ge=1,
        le=limits.BUCKETS_A_JOB,
        description="Table partitions that a new job's tasks are spread over, 1 to 32; a job keeps what it began with. "
        "One takes 2,000 rows a second. Default: 1.",
        examples=["1"],
    )
    host_storage: _ConnectionString | None = Field(
        None,
        alias="AzureWebJobsStorage",
        description="The Functions host's own account (checkpoints); for the tables too where RollupStorage is absent.",
        examples=[_STORAGE_EXAMPLE],
    )

    @property
    def storage_connection(self) -> str | None:
        """The connection string for tables and dead letters; None where the identity is used."""
        return self.rollup_storage or (None if self.rollup_table_uri else self.host_storage)


class Settings(StorageSettings):
    """Every setting by its name."""

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
    api_auth_level: Literal["function", "anonymous"] = Field(
        "function",
        alias="ApiAuthLevel",
        description="Who may read the HTTP API: function, with a function key; anonymous, behind App Service "
        "Authentication only. Default: function.",
        examples=["function"],
    )
    retention_days: int = Field(
        0,
        alias="RetentionDays",
        ge=0,
        le=limits.RETENTION_DAYS,
        description="Jobs whose last task ended more than so many days ago are purged. Default: 0, keep all.",
        examples=["365"],
    )
    retention_schedule: _Schedule = Field(
        "0 30 2 * * *",
        alias="RetentionSchedule",
        description="When the retention timer runs, as NCRONTAB with six fields, in UTC. Default: daily at 02:30.",
        examples=["0 30 2 * * *"],
    )


def load(environment: Mapping[str, str]) -> Settings:
    """The settings in an environment. An empty value counts as absent. Raises SettingsError."""
    return _load(Settings, environment, lambda given: [*_hub_problems(given), *_storage_problems(given)])


def load_storage(environment: Mapping[str, str]) -> StorageSettings:
    """The settings of storage alone, for a command that reads no hub. Raises SettingsError."""
    return _load(StorageSettings, environment, _storage_problems)


def names_storage(environment: Mapping[str, str]) -> bool:
    """Whether any setting of storage is in the environment."""
    return bool(_given(StorageSettings, environment))


def _load[S: StorageSettings](
    model: type[S], environment: Mapping[str, str], find_problems: Callable[[Set[str]], list[str]]
) -> S:
    given = _given(model, environment)
    problems = find_problems(given.keys())
    try:
        settings = model.model_validate(given)
    except ValidationError as error:
        problems = [*map(_field_problem, error.errors(include_url=False)), *problems]
    else:
        if not problems:
            return settings
    raise SettingsError("\n".join(["the settings are not usable:", *problems]))


def _given(model: type[StorageSettings], environment: Mapping[str, str]) -> dict[str, str]:
    """The model's settings that the environment has a value for."""
    names = (field.alias for field in model.model_fields.values() if field.alias)
    return {name: value for name in names if (value := environment.get(name, "").strip())}


def _hub_problems(given: Set[str]) -> list[str]:
    if given.isdisjoint({"EventHubConnection", "EventHubConnection__fullyQualifiedNamespace"}):
        return [_line("EventHubConnection", "is missing")]
    return []


def _storage_problems(given: Set[str]) -> list[str]:
    uris = ("RollupStorage__tableServiceUri", "RollupStorage__blobServiceUri")
    missing = [uri for uri in uris if uri not in given]
    if "RollupStorage" in given and len(missing) < 2:
        return [_line("RollupStorage", "is set beside RollupStorage__…ServiceUri; set either, not both")]
    if len(missing) == 1 and "RollupStorage" not in given:
        (other,) = set(uris) - set(missing)
        return [_line(missing[0], f"is missing beside {other}")]
    if len(missing) == 2 and given.isdisjoint({"RollupStorage", "AzureWebJobsStorage"}):
        return [_line("RollupStorage", "is missing, and so is AzureWebJobsStorage, its default")]
    return []


def _field_problem(details: Any) -> str:
    """The line for one setting. Its value is left out: it may hold a key."""
    return _line(details["loc"][0], "is missing" if details["type"] == "missing" else "has the wrong form")


def _line(name: str, problem: str) -> str:
    return f"  {name} {problem}; for example {name}={FIELDS[name].examples[0]}"


FIELDS: Mapping[str, Any] = {field.alias: field for field in Settings.model_fields.values() if field.alias}
NAMES = tuple(FIELDS)
