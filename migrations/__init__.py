"""The database's versions, as alembic scripts."""
