"""The adapters between Starlette and Strawberry."""

from schema.transport.view import PAGE_HEADERS, GraphQLView

__all__ = ["PAGE_HEADERS", "GraphQLView"]
