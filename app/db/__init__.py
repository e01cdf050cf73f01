"""PostgreSQL: pools, tables, and a server of our own where none is given."""
