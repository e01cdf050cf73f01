"""The thin layer between Starlette and Strawberry."""

from schema.transport.view import GraphQLView

__all__ = ["GraphQLView"]
