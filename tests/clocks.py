"""A clock of PostgreSQL that a test sets back or forward, as NTP or a person may do while everything runs."""

import asyncpg

from app.resources import Resources

SHADOWED = ("now", "clock_timestamp", "transaction_timestamp", "statement_timestamp")


class SteppingClock:
    """Replaces PostgreSQL's functions of time in one database; `step` changes what all connections read from then on.

    The functions are found before PostgreSQL's own by the search path, and the
    defaults of columns are made to call them. Connections have to be opened after `install`.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    async def install(self) -> None:
        """Put the clock into the database; it shows the right time until it is stepped."""
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute("""
                CREATE SCHEMA clock;
                CREATE TABLE clock.steps (by interval NOT NULL);
                INSERT INTO clock.steps VALUES ('0');
            """)
            for name in SHADOWED:
                kind = "VOLATILE" if name == "clock_timestamp" else "STABLE"
                await connection.execute(f"""
                    CREATE FUNCTION clock.{name}() RETURNS timestamptz LANGUAGE sql {kind} AS
                    'SELECT pg_catalog.{name}() + (SELECT by FROM clock.steps)'
                """)  # noqa: S608 - only names of this file are put in
            defaults = await connection.fetch("""
                SELECT table_name, column_name FROM information_schema.columns
                 WHERE table_schema = 'public' AND column_default = 'now()'
            """)
            for table, column in defaults:
                await connection.execute(
                    f'ALTER TABLE public."{table}" ALTER COLUMN "{column}" SET DEFAULT clock.now()'
                )
            name = await connection.fetchval("SELECT current_database()")
            await connection.execute(f'ALTER DATABASE "{name}" SET search_path = public, clock, pg_catalog')
        finally:
            await connection.close()

    async def step(self, seconds: float) -> None:
        """Set the clock forward, or back where `seconds` are negative."""
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute("UPDATE clock.steps SET by = by + make_interval(secs => $1)", seconds)
        finally:
            await connection.close()


async def stepping_clock(resources: Resources) -> SteppingClock:
    """Install a clock in the database of these resources, whose connections read it from now on."""
    clock = SteppingClock(resources.database.dsn)
    await clock.install()
    await resources.database.engine.dispose()
    return clock
