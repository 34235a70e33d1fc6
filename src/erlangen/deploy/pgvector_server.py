"""A connection to PostgreSQL for one table of vectors: names quoted, errors in one line, transactions that nest."""

import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from erlangen.deploy.pgvector_wire import vector_bytes

DSN_VARIABLE = "ERLANGEN_PGVECTOR_DSN"
LONGEST_NAME = 63


class VectorParameter:
    """A row on its way into a statement."""

    def __init__(self, row: Tensor) -> None:
        self.row = row


class TableServer:
    """Statements about one table; `{table}` in their text is its quoted name, `{literal}` that name as a string.

    A connection is opened at the first statement and again after it was lost. The connection string stays in here: no
    message and no manifest repeats it.
    """

    def __init__(self, schema: str, table: str, dsn: str | None) -> None:
        self.psycopg = _psycopg()
        self.schema, self.table = _name(schema, "schema"), _name(table, "table")
        given = os.environ.get(DSN_VARIABLE) if dsn is None else dsn
        if given is None:
            raise ValueError(f"dsn: give a connection string, or set the environment variable {DSN_VARIABLE}")
        if not isinstance(given, str):
            raise TypeError(f"dsn: expected a connection string, got {type(given).__name__}")
        self._dsn, self._connection, self._turn = given, None, threading.RLock()

    @property
    def called(self) -> str:
        return f"{self.schema}.{self.table}"

    @contextmanager
    def transaction(
        self, *, alone: bool = False, extension: bool = False, settings: Mapping[str, object] | None = None
    ) -> Iterator[Any]:
        """A transaction, inside another one a savepoint.

        `alone` keeps other writers out until it ends, `extension` makes the type first, and `settings` hold within it.
        """
        errors = self.psycopg.errors
        with self._turn:
            connection = self._connected(extension)
            try:
                with connection.transaction():
                    for name, value in (settings or {}).items():
                        connection.execute("SELECT set_config(%s, %s, true)", [name, str(value)])
                    if alone:
                        self.run(connection, "LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
                    yield connection
            except errors.UndefinedTable:
                raise ValueError(f"table: {self.called} is not on the server") from None
            except errors.InsufficientPrivilege as error:
                raise PermissionError(f"table: {self.called}: {one_line(error)}") from None
            except self.psycopg.OperationalError as error:
                raise ConnectionError(f"dsn: the server does not answer ({one_line(error)})") from None
            except self.psycopg.Error as error:
                raise ValueError(f"table: {self.called}: the server refused ({one_line(error)})") from None

    def sql(self, text: str, parts: Mapping[str, str] | None = None, *, parameters: bool = True) -> Any:
        """A statement, to be run with parameters (none is `[]`) or not; `parts` are pieces of it that no user wrote."""
        sql = self.psycopg.sql
        quoted = sql.Identifier(self.schema, self.table).as_string(None)
        names = {"table": quoted, "literal": sql.Literal(quoted).as_string(None)}
        percent = "%%" if parameters else "%"  # where there are parameters, it marks their places
        return sql.SQL(text).format(
            **{k: sql.SQL(v.replace("%", percent)) for k, v in {**names, **(parts or {})}.items()}
        )

    def run(self, connection: Any, text: str, parameters: Sequence[object] = (), **parts: str) -> Any:
        """The cursor of a statement that was run."""
        return connection.execute(self.sql(text, parts), list(parameters))

    def copying(self, connection: Any, text: str) -> Any:
        """The stream of a COPY."""
        return connection.cursor().copy(self.sql(text, parameters=False))

    def comment(self) -> str | None:
        """What is written on the table; None where there is none."""
        with self.transaction() as connection:
            return self.run(connection, "SELECT obj_description(to_regclass({literal}), 'pg_class')").fetchone()[0]

    def _connected(self, extension: bool) -> Any:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        try:
            connection = self.psycopg.connect(self._dsn, autocommit=True)
        except self.psycopg.OperationalError as error:
            raise ConnectionError(f"dsn: no connection to a PostgreSQL server ({one_line(error)})") from None
        except self.psycopg.Error:  # the message would repeat the string, and a password with it
            raise ValueError("dsn: not a connection string that PostgreSQL reads") from None
        weakref.finalize(self, connection.close)
        if extension:
            try:
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            except self.psycopg.errors.UniqueViolation:  # another made it in the same moment
                pass
            except self.psycopg.Error as error:
                raise ValueError(f"dsn: the server has no extension 'vector' ({one_line(error)})") from None
        _register(connection, self.psycopg)
        self._connection = connection
        return connection


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _register(connection: Any, psycopg: Any) -> None:
    """Teach the connection to send a `VectorParameter` as a vector."""
    kind = psycopg.types.TypeInfo.fetch(connection, "vector")
    if kind is None:
        raise ValueError("dsn: the database has no type 'vector'; CREATE EXTENSION vector makes it")

    class Dumper(psycopg.adapt.Dumper):  # type: ignore[misc,name-defined]
        format = psycopg.pq.Format.BINARY
        oid = kind.oid

        def dump(self, obj: VectorParameter) -> bytes:
            return vector_bytes(obj.row)

    connection.adapters.register_dumper(VectorParameter, Dumper)


def _name(value: Any, argument: str) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{argument}: expected a name, got {value!r}")
    if len(value.encode(errors="surrogatepass")) > LONGEST_NAME:
        raise ValueError(f"{argument}: {value[:20]!r}... is longer than the {LONGEST_NAME} bytes that PostgreSQL keeps")
    return value


def _psycopg() -> Any:
    try:
        import psycopg
        import psycopg.adapt
        import psycopg.types
        from psycopg import sql  # noqa: F401
    except ImportError:
        raise ImportError(
            "engine: 'pgvector' needs psycopg; install erlangen[pgvector] or use engine='exact'"
        ) from None
    return psycopg
