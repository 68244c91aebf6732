"""A stand-in for PostgreSQL: an SQLite file behind an address of PostgreSQL's form, as tests have no server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite


class StandInForPostgreSQL(SQLiteDialect_pysqlite):
    """Read and write ``file``, whatever follows postgresql+standin:// in the address."""

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
    """Within the block, addresses that begin with postgresql+standin:// refer to the file."""
    StandInForPostgreSQL.file = str(file)
    registry.register("postgresql.standin", __name__, StandInForPostgreSQL.__name__)
    try:
        yield
    finally:
        registry.impls.pop("postgresql.standin")
