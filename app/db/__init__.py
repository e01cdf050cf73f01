"""PostgreSQL: pools, tables, and an embedded server if no DATABASE_URL is set."""
