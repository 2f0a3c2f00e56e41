"""The messages that host and Python worker exchange, as protobuf classes made at import time.

Of the contract (`FunctionRpc.proto`, package AzureFunctionsRpcMessages) only those messages are here that the
worker library reads or builds in this process; the field numbers are the contract's. The library is handed
`protos` in place of the module that protoc would have generated. No static types exist for such classes, so
the rule is that only this package's worker.py, event_hub_batch.py and http_server.py touch them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    message_factory,
    timestamp_pb2,
)

_PACKAGE = "AzureFunctionsRpcMessages"

# One statement a line: `enum`, `oneof name:` before its members (indented), and fields as in a .proto file.
_CONTRACT = """
message WorkerInitRequest
  map<string,string> capabilities = 2
  string function_app_directory = 5
message WorkerInitResponse
  map<string,string> capabilities = 2
  StatusResult result = 3
  WorkerMetadata worker_metadata = 4
message WorkerMetadata
  string runtime_name = 1
  string runtime_version = 2
  string worker_version = 3
  string worker_bitness = 4
  map<string,string> custom_properties = 5
message StatusResult
  enum Status Failure=0 Success=1 Cancelled=2
  RpcException exception = 2
  Status status = 4
message RpcException
  string stack_trace = 1
  string message = 2
  string source = 3
message FunctionMetadataResponse
  repeated RpcFunctionMetadata function_metadata_results = 1
  StatusResult result = 2
  bool use_default_metadata_indexing = 3
message RpcFunctionMetadata
  string directory = 1
  string script_file = 2
  string entry_point = 3
  string name = 4
  map<string,BindingInfo> bindings = 6
  bool is_proxy = 7
  string language = 9
  repeated string raw_bindings = 10
  string function_id = 13
  bool managed_dependency_enabled = 14
  RpcRetryOptions retry_options = 15
  map<string,string> properties = 16
message BindingInfo
  enum Direction in=0 out=1 inout=2
  enum DataType undefined=0 string=1 binary=2 stream=3
  string type = 2
  Direction direction = 3
  DataType data_type = 4
message RpcRetryOptions
  enum RetryStrategy exponential_backoff=0 fixed_delay=1
  int32 max_retry_count = 2
  google.protobuf.Duration delay_interval = 3
  google.protobuf.Duration minimum_interval = 4
  google.protobuf.Duration maximum_interval = 5
  RetryStrategy retry_strategy = 6
message InvocationRequest
  string invocation_id = 1
  string function_id = 2
  repeated ParameterBinding input_data = 3
  map<string,TypedData> trigger_metadata = 4
  RpcTraceContext trace_context = 5
  RetryContext retry_context = 6
message InvocationResponse
  string invocation_id = 1
  repeated ParameterBinding output_data = 2
  StatusResult result = 3
  TypedData return_value = 4
message RpcTraceContext
  string trace_parent = 1
  string trace_state = 2
  map<string,string> attributes = 3
message RetryContext
  int32 retry_count = 1
  int32 max_retry_count = 2
  RpcException exception = 3
message ParameterBinding
  string name = 1
  oneof rpc_data:
    TypedData data = 2
message TypedData
  oneof data:
    string string = 1
    string json = 2
    bytes bytes = 3
    bytes stream = 4
    RpcHttp http = 5
    sint64 int = 6
    double double = 7
    CollectionBytes collection_bytes = 8
    CollectionString collection_string = 9
    CollectionDouble collection_double = 10
    CollectionSInt64 collection_sint64 = 11
message CollectionBytes
  repeated bytes bytes = 1
message CollectionString
  repeated string string = 1
message CollectionDouble
  repeated double double = 1
message CollectionSInt64
  repeated sint64 sint64 = 1
message RpcHttp
  string method = 1
  string url = 2
  map<string,string> headers = 3
  TypedData body = 4
  map<string,string> params = 10
  string status_code = 12
  map<string,string> query = 15
  bool enable_content_negotiation = 16
  repeated RpcHttpCookie cookies = 19
message RpcHttpCookie
  enum SameSite None=0 Lax=1 Strict=2 ExplicitNone=3
  string name = 1
  string value = 2
  NullableString domain = 3
  NullableString path = 4
  NullableTimestamp expires = 5
  NullableBool secure = 6
  NullableBool http_only = 7
  SameSite same_site = 8
  NullableDouble max_age = 9
message NullableString
  oneof string:
    string value = 1
message NullableDouble
  oneof double:
    double value = 1
message NullableBool
  oneof bool:
    bool value = 1
message NullableTimestamp
  oneof timestamp:
    google.protobuf.Timestamp value = 1
"""

_SCALARS = {
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "sint64": descriptor_pb2.FieldDescriptorProto.TYPE_SINT64,
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
}
_FIELD = re.compile(r"(?:(repeated) |map<string,([\w.]+)> )?([\w.]+ )?(\w+) = (\d+)")


def string(value: str) -> Any:
    """`value` as a TypedData of kind string."""
    return protos.TypedData(string=value)


def json_text(value: str) -> Any:
    """`value`, which is JSON, as a TypedData of kind json."""
    return protos.TypedData(json=value)


def binary(value: bytes) -> Any:
    """`value` as a TypedData of kind bytes."""
    return protos.TypedData(bytes=value)


def binaries(values: Iterable[bytes]) -> Any:
    """`values` as a TypedData of kind collection_bytes."""
    return protos.TypedData(collection_bytes=protos.CollectionBytes(bytes=values))


def strings(values: Iterable[str]) -> Any:
    """`values` as a TypedData of kind collection_string."""
    return protos.TypedData(collection_string=protos.CollectionString(string=values))


def integers(values: Iterable[int]) -> Any:
    """`values` as a TypedData of kind collection_sint64."""
    return protos.TypedData(collection_sint64=protos.CollectionSInt64(sint64=values))


def http_request(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    params: Mapping[str, str],
    body: bytes,
) -> Any:
    """An HTTP request as a TypedData of kind http; an empty body is left out, as the host does."""
    request = protos.RpcHttp(method=method, url=url, headers=headers, query=query, params=params)
    if body:
        request.body.bytes = body
    return protos.TypedData(http=request)


def _message_blocks() -> Iterator[tuple[str, list[str]]]:
    for block in _CONTRACT.split("\nmessage ")[1:]:
        name, *statements = block.rstrip().split("\n")
        yield name, statements


def _add_enum(message: descriptor_pb2.DescriptorProto, statement: str) -> None:
    name, *values = statement.split()
    enum = descriptor_pb2.EnumDescriptorProto(name=name)
    for value in values:
        label, number = value.split("=")
        enum.value.add(name=label, number=int(number))
    message.enum_type.append(enum)


def _set_type(field: descriptor_pb2.FieldDescriptorProto, name: str, message: descriptor_pb2.DescriptorProto) -> None:
    if name in _SCALARS:
        field.type = _SCALARS[name]
    elif any(enum.name == name for enum in message.enum_type):
        field.type = descriptor_pb2.FieldDescriptorProto.TYPE_ENUM
        field.type_name = f".{_PACKAGE}.{message.name}.{name}"
    else:
        field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{name}" if "." in name else f".{_PACKAGE}.{name}"


def _add_field(message: descriptor_pb2.DescriptorProto, statement: str, *, in_oneof: bool) -> None:
    match = _FIELD.fullmatch(statement)
    assert match, f"not a field: {statement!r}"
    repeated, map_value, type_name, name, number = match.groups()
    field = message.field.add(name=name, number=int(number), label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
    if in_oneof:
        field.oneof_index = 0
    if map_value is None:
        if repeated:
            field.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
        _set_type(field, type_name.strip(), message)
        return
    # A map is a repeated nested message of key and value (protobuf language guide, "Backwards compatibility").
    entry = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=field.label, type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING)
    _set_type(entry.field.add(name="value", number=2, label=field.label), map_value, message)
    field.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
    field.type_name = f".{_PACKAGE}.{message.name}.{entry.name}"


def _build() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="devstack/FunctionRpc.proto", package=_PACKAGE, syntax="proto3")
    for known in (duration_pb2, timestamp_pb2):
        file.dependency.append(known.DESCRIPTOR.name)
    for name, statements in _message_blocks():
        message = file.message_type.add(name=name)
        for statement in statements:
            text = statement.strip()
            if text.startswith("enum "):
                _add_enum(message, text.removeprefix("enum "))
            elif text.startswith("oneof "):
                message.oneof_decl.add(name=text.removeprefix("oneof ").rstrip(":"))
            else:
                _add_field(message, text, in_oneof=statement.startswith("    "))
    # The default pool, because the library fills a cookie's expiry with protobuf's own Timestamp class.
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return SimpleNamespace(
        **{
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
            for name, _ in _message_blocks()
        }
    )


protos: Any = _build()
