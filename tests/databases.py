"""A database with an address of PostgreSQL's form, in an SQLite file, since no server runs where the tests do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite


class StandInForPostgreSQL(SQLiteDialect_pysqlite):
    """Reads and writes ``file``, whatever the address says after postgresql+standin://."""

    supports_statement_cache = True
    file = ""

    def create_connect_args(self, url: Any) -> Any:
        return [self.file], {"check_same_thread": False}

    @classmethod
    def get_pool_class(cls, url: Any) -> Any:
        from sqlalchemy.pool import QueuePool

        return QueuePool


@contextmanager
def standing_in(file: Path) -> Iterator[None]:
    """Within the block, addresses that begin with postgresql+standin:// mean the file."""
    StandInForPostgreSQL.file = str(file)
    registry.register("postgresql.standin", __name__, StandInForPostgreSQL.__name__)
    try:
        yield
    finally:
        registry.impls.pop("postgresql.standin")
