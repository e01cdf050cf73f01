"""Methods of libraries that this project overrides: a new version that changes one of them has to be looked at.

An override replaces or wraps code that its author may change in any release. Each one is listed here with
the version that it was checked against and a hash of the library's source of the method.
"""

import hashlib
import importlib
import inspect
from importlib.metadata import packages_distributions, version

import pytest

CLASSES = [
    "app.cli.service:_Server",
    "app.jobs.engine:Queue",
    "app.jobs.queue:_InTransaction",
    "app.main:_StaticPages",
    "schema:Schema",
    "schema.errors:MaskUnexpected",
    "schema.logging:LogOperation",
    "schema.long_lists:ChunkedExecution",
    "schema.transport.requests:BoundedRequest",
    "schema.transport.view:GraphQLView",
    "schema.transport.websocket:TextWebSocket",
    "schema.transport.websocket:TransportHandler",
]
DISTRIBUTIONS = {
    package: names for package, names in packages_distributions().items() if package not in ("app", "schema")
}
CHECKED: dict[str, tuple[str, str]] = {
    "app.cli.service:_Server.capture_signals": ("0.54.0", "e1bbcd4770d1"),
    "app.jobs.engine:Queue.dequeue": ("1.6.0", "921238e54800"),
    "app.jobs.engine:Queue.log_jobs": ("1.6.0", "1a51e07332ba"),
    "app.jobs.engine:Queue.update_heartbeat": ("1.6.0", "aa3ca3f51828"),
    "app.jobs.queue:_InTransaction.fetch": ("1.6.0", "61a831b45e3c"),
    "app.jobs.queue:_InTransaction.execute": ("1.6.0", "e165f581e042"),
    "app.jobs.queue:_InTransaction.notify": ("1.6.0", "54a58d3b7ce1"),
    "app.main:_StaticPages.get_response": ("1.10.0", "aaa537ddcd24"),
    "schema:Schema.process_errors": ("0.341.2", "1bafd3450ba5"),
    "schema.errors:MaskUnexpected.anonymise_error": ("0.341.2", "e44150c5dd7b"),
    "schema.logging:LogOperation.on_operation": ("0.341.2", "118056bc448a"),
    "schema.logging:LogOperation.on_parse": ("0.341.2", "fbed6b1bda72"),
    "schema.long_lists:ChunkedExecution.complete_list_value": ("3.3.2", "3ee91ce2f0fa"),
    "schema.transport.requests:BoundedRequest.get_body": ("0.9.0", "282c4013e6e8"),
    "schema.transport.view:GraphQLView.get_context": ("0.341.2", "62b833408e9b"),
    "schema.transport.view:GraphQLView.get_root_value": ("0.341.2", "c88d6b24dc24"),
    "schema.transport.view:GraphQLView.should_render_graphql_ide": ("0.341.2", "6b404edf0789"),
    "schema.transport.view:GraphQLView.__call__": ("0.341.2", "061f027d2fb9"),
    "schema.transport.view:GraphQLView.parse_http_body": ("0.341.2", "6c7c673a1388"),
    "schema.transport.view:GraphQLView.render_graphql_ide": ("0.341.2", "417bb9771be9"),
    "schema.transport.view:GraphQLView.encode_json": ("0.341.2", "cada564cfd9f"),
    "schema.transport.view:GraphQLView.decode_json": ("0.341.2", "1dd2f84124af"),
    "schema.transport.websocket:TextWebSocket.iter_json": ("0.341.2", "eccc1390e8d7"),
    "schema.transport.websocket:TextWebSocket.send_json": ("0.341.2", "547ae428486d"),
    "schema.transport.websocket:TextWebSocket.close": ("0.341.2", "53fd79275b9a"),
    "schema.transport.websocket:TransportHandler.handle_message": ("0.341.2", "998710aa524a"),
    "schema.transport.websocket:TransportHandler.handle_connection_init": ("0.341.2", "27f175a0bd34"),
    "schema.transport.websocket:TransportHandler.handle_subscribe": ("0.341.2", "d69e5dbce9e3"),
    "schema.transport.websocket:TransportHandler.handle_ping": ("0.341.2", "13172475b0b5"),
    "schema.transport.websocket:TransportHandler._get_pre_execution_close_reason": ("0.341.2", "ee020a82a8c6"),
}
"""Overridden method -> version of its library, first digits of the SHA-256 hash of the library's source."""


def overridden(name: str) -> dict[str, object]:
    """Return the methods of libraries that a class of this project overrides, by name."""
    module, _, class_name = name.partition(":")
    own = getattr(importlib.import_module(module), class_name)
    bases = [base for base in own.__mro__[1:] if base.__module__.partition(".")[0] in DISTRIBUTIONS]
    found = {}
    for attribute, value in vars(own).items():
        if (attribute.startswith("__") and attribute != "__call__") or not inspect.isfunction(
            getattr(value, "__func__", value)
        ):
            continue
        base = next((vars(base)[attribute] for base in bases if attribute in vars(base)), None)
        if base is not None:
            found[f"{name}.{attribute}"] = getattr(base, "__func__", base)
    return found


def fingerprint(method: object) -> tuple[str, str]:
    """Return the version of a method's library, and the first digits of its source's hash."""
    package = getattr(method, "__module__", "").partition(".")[0]
    [distribution, *_] = DISTRIBUTIONS[package]
    source = inspect.getsource(method)  # type: ignore[arg-type] # it is a function
    return version(distribution), hashlib.sha256(source.encode()).hexdigest()[:12]


ALL = {name: method for each in CLASSES for name, method in overridden(each).items()}


@pytest.mark.parametrize("name", ALL)
def test_an_overridden_method_has_not_changed(name: str) -> None:
    checked_version, checked_hash = CHECKED[name]
    found_version, found_hash = fingerprint(ALL[name])
    assert found_hash == checked_hash, (
        f"{name} overrides a method that has changed between {checked_version} and {found_version}: "
        "compare the two sources, adapt the override, and write the new version and hash here"
    )


def test_every_override_is_listed() -> None:
    assert CHECKED.keys() == ALL.keys()
