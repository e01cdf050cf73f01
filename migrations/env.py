"""Lets alembic run in the connection that `app.db.migrate` hands over."""

from alembic import context

from app.db.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
