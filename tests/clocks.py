"""A clock of PostgreSQL that tests set back or forward, as NTP or a person may do during operation."""

import asyncpg

from app.resources import Resources

SHADOWED = ("now", "clock_timestamp", "transaction_timestamp", "statement_timestamp")


class SteppingClock:
    """Replaces PostgreSQL's time functions in one database; `step` changes the time that all connections read.

    The search path finds these functions before PostgreSQL's own, and the defaults
    of columns are changed to call them. Open connections after `install`.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    async def install(self) -> None:
        """Install the clock in the database; it shows the correct time until it is stepped."""
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
                """)  # noqa: S608 - constants of this file
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
        """Set the clock forward, or back if `seconds` is negative."""
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute("UPDATE clock.steps SET by = by + make_interval(secs => $1)", seconds)
        finally:
            await connection.close()


async def stepping_clock(resources: Resources) -> SteppingClock:
    """Install a clock in the database of these resources; their connections read it from now on."""
    clock = SteppingClock(resources.database.dsn)
    await clock.install()
    await resources.database.engine.dispose()
    return clock
