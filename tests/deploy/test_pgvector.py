"""The engine on a PostgreSQL server of the tests' own, beyond what every engine promises."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from postgres import server

from erlangen.cli import main
from erlangen.deploy import Index, SpaceInfo, VersionedGallery

psycopg = pytest.importorskip("psycopg", reason="the extra erlangen[pgvector] is not installed")

HOSTILE = ["a table", 'x"; DROP TABLE victim; --', "it's", "%s {table} {0}", "名前", "SELECT", "a.b"]


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(table: str, count: int = 30, **options: Any) -> Any:
    options = {"dsn": server(), "replace": True, **options}
    return Index.build(gaussian(count, 4), engine="pgvector", table=table, **options)


def asked(statement: str) -> Any:
    with psycopg.connect(server(), autocommit=True) as connection:
        return connection.execute(statement).fetchone()


@pytest.fixture
def dsn(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ERLANGEN_PGVECTOR_DSN", server())
    return server()


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("dim", [None, 3])
def test_answers_are_those_of_the_exact_engine_bit_for_bit(metric: str, dim: int | None) -> None:
    vectors, query = gaussian(300, 8), gaussian(12, 8, seed=1)
    vectors[7] = vectors[100]
    table = Index.build(vectors, engine="pgvector", metric=metric, dsn=server(), table="same", replace=True)
    exact = Index.build(vectors, metric=metric)
    for filter in (None, range(0, 300, 3), lambda ids: ids % 2 == 0):
        found, truth = (index.search(query, 9, dim=dim, filter=filter) for index in (table, exact))
        assert all(torch.equal(a, b) for a, b in zip(found, truth, strict=True))
    assert torch.equal(table.store.data, exact.store.data) and torch.equal(table.store.ids, exact.store.ids)


def test_hostile_names_are_names_and_nothing_else() -> None:
    asked_once = ["CREATE TABLE IF NOT EXISTS victim (n int)", 'CREATE SCHEMA IF NOT EXISTS "odd \'schema"']
    with psycopg.connect(server(), autocommit=True) as connection:
        for statement in asked_once:
            connection.execute(statement)
    for schema in ("public", "odd 'schema"):
        for name in HOSTILE:
            index = build(name, schema=schema)
            index.add(gaussian(1, 4))
            assert len(index) == 31 and int(index.search(gaussian(30, 4)[5], 1).ids) == 5
            assert index.stats()["table"] == f"{schema}.{name}"
            index.drop()
    assert asked("SELECT count(*) FROM victim") == (0,)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"table": ""}, "table: expected a name"),
        ({"table": "a\0b"}, "table: expected a name"),
        ({"table": "ä" * 40}, "table: .* longer than the 63 bytes"),
        ({"schema": "nowhere"}, "schema: 'nowhere' is not on the server"),
        ({"index": "hsnw"}, "index: unknown 'hsnw'; did you mean 'hnsw'"),
        ({"index": "hnsw", "connectivity": 0}, "connectivity: must be a whole number"),
        ({"index": "hnsw", "connectivity": 1000}, "index: the server cannot make 'hnsw'"),
        ({"lists": 3}, "options: pgvector takes .*; got lists"),
        ({"factory": "Flat"}, "options: pgvector takes .*; got factory"),
        ({"storage": "int8"}, "storage: the pgvector engine keeps float32, not int8"),
        ({"dsn": "password=hunter2 nonsense"}, "dsn: not a connection string"),
        ({"replace": 1}, "replace: must be True or False"),
    ],
)
def test_a_bad_argument_is_one_line_that_names_it(options: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        build(options.pop("table", "bad"), **options)
    assert "\n" not in str(caught.value) and "hunter2" not in str(caught.value)


def test_no_server_and_no_string_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="dsn: no connection to a PostgreSQL server"):
        build("x", dsn=f"host={tmp_path} dbname=postgres password=hunter2")
    monkeypatch.delenv("ERLANGEN_PGVECTOR_DSN", raising=False)
    with pytest.raises(ValueError, match="dsn: give a connection string, or set the environment variable ERLANGEN"):
        build("x", dsn=None)


def test_a_table_that_is_no_index_is_never_replaced() -> None:
    with psycopg.connect(server(), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS thesis (years int)")
        connection.execute("TRUNCATE thesis")
        connection.execute("INSERT INTO thesis VALUES (7)")
    for replace in (False, True):
        with pytest.raises(ValueError, match=r"table: public\.thesis is there already"):
            build("thesis", replace=replace)
    assert asked("SELECT years FROM thesis") == (7,)
    build("mine")
    with pytest.raises(ValueError, match="give replace=True"):
        build("mine", replace=False)
    with pytest.raises(ValueError, match="index: the server cannot make"):  # what was there stays
        build("mine", count=5, index="hnsw", connectivity=1000)
    assert len(type(build("other")).connected("mine", dsn=server())) == 30


def test_a_folder_names_the_table_and_holds_neither_vectors_nor_password(dsn: str, tmp_path: Path) -> None:
    space = SpaceInfo("m", 4, "l2")
    index = Index.build(
        gaussian(30, 4), space=space, engine="pgvector", dsn=dsn + " password=hunter2", table="saved", replace=True
    )
    index.save(tmp_path / "i")
    assert sorted(p.name for p in (tmp_path / "i").iterdir()) == ["manifest.json", "run.lock"]
    words = (tmp_path / "i" / "manifest.json").read_text()
    assert "hunter2" not in words and json.loads(words)["options"] == {"table": "saved", "schema": "public"}
    again = Index.open(tmp_path / "i")
    assert again.space == space and torch.equal(
        again.search(gaussian(3, 4), 30).ids, index.search(gaussian(3, 4), 30).ids
    )
    again.add(gaussian(2, 4, seed=5))
    assert len(index) == 32
    Index.build(gaussian(3, 4), space=SpaceInfo("n", 4), engine="pgvector", dsn=dsn, table="saved", replace=True)
    with pytest.raises(ValueError, match=r"table: public\.saved was built anew for model 'n', not 'm'"):
        Index.open(tmp_path / "i")
    index.drop()
    with pytest.raises(ValueError, match=r"table: public\.saved is not there"):
        Index.open(tmp_path / "i")
    with pytest.raises(ValueError, match=r"table: public\.saved is not on the server"):
        again.search(gaussian(3, 4), 1)
    (tmp_path / "i" / "manifest.json").write_text(json.dumps({**json.loads(words), "options": {"table": "saved"}}))
    with pytest.raises(ValueError, match="names no table"):
        Index.open(tmp_path / "i")


@pytest.mark.parametrize(
    "options", [{"index": "hnsw", "connectivity": 8}, {"index": "ivfflat", "lists": 8, "probes": 4}]
)
def test_an_index_of_the_servers_finds_most_and_a_filter_stays_exact(options: dict[str, Any]) -> None:
    vectors, query = gaussian(1500, 16), gaussian(30, 16, seed=1)
    table = Index.build(vectors, engine="pgvector", dsn=server(), table="graph", replace=True, **options)
    exact = Index.build(vectors)
    assert 0.7 < table.recall_against(exact, query, 5) <= 1.0
    rare = [3, 700, 1400]
    assert torch.equal(table.search(query, 3, filter=rare).ids, exact.search(query, 3, filter=rare).ids)
    assert torch.equal(table.search(query, 3, dim=4).ids, exact.search(query, 3, dim=4).ids)
    opened = type(table).connected("graph", dsn=server())
    assert opened.options == table.options


def test_writers_at_once_lose_nothing_and_a_failed_addition_adds_nothing() -> None:
    index = build("busy", count=1)

    def add(number: int) -> None:
        mine = type(index).connected("busy", dsn=server())
        for _ in range(3):
            mine.add(gaussian(2, 4, seed=number))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert torch.equal(index.store.ids, torch.arange(25))
    with pytest.raises(ValueError, match="ids: 7 is in the index already"):
        index.add(gaussian(2, 4), [100, 7])
    with pytest.raises(ValueError, match="ids: 400 is not in the index"):
        index.remove([3, 400])
    assert len(index) == 25


def test_a_lost_connection_is_opened_again() -> None:
    index = build("lost")
    assert len(index) == 30  # the last thing that its connection did
    asked(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND usename = 'tester' AND (query ~ 'lost' OR query = 'COMMIT')"
    )
    with pytest.raises(ConnectionError, match="dsn: the server does not answer"):
        len(index)
    assert len(index) == 30


def test_a_gallery_of_files_does_not_take_a_table() -> None:
    with pytest.raises(ValueError, match="index: a table on a server"):
        VersionedGallery().adopt(build("adopted"))


def test_from_a_shell(dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    file, out = tmp_path / "v.csv", str(tmp_path / 'my "index"')
    file.write_text("\n".join(",".join(map(str, row)) for row in gaussian(20, 4).tolist()))

    def printed(*words: str) -> Any:
        assert main(["index", *words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    for _ in range(2):  # the folder's own table is built anew
        facts = printed("build", str(file), "--out", out, "--engine", "pgvector")
        assert facts["count"] == 20 and facts["table"] == 'public.my "index"'
    assert printed("add", out, str(file))["count"] == 40
    assert printed("search", out, str(file), "--k", "2")[3]["ids"] == [3, 23]
    monkeypatch.delenv("ERLANGEN_PGVECTOR_DSN")
    assert main(["index", "stats", out]) == 2 and "ERLANGEN_PGVECTOR_DSN" in capsys.readouterr().err
    assert printed("stats", out, "--dsn", dsn)["count"] == 40
    assert printed(
        "build", str(file), "--out", str(tmp_path / "o"), "--engine", "pgvector", "--dsn", dsn, "--table", "o"
    )
    assert main(["index", "build", str(file), "--out", out, "--table", "x"]) == 2
    assert "--table" in capsys.readouterr().err


def test_without_psycopg_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "import torch; from erlangen.deploy import Index\n"
        "try: Index.build(torch.ones(2, 2), engine='pgvector', dsn='')\n"
        "except ImportError as error: assert 'erlangen[pgvector]' in str(error); print('said')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "said", done.stderr
