"""Exports: rows in, a file out, in memory that does not grow with their number. This package uses no database."""
