"""SQLAlchemy through the sidecar, with psycopg and a pool of its own. Prints OK, or fails with
what differed.

Connection parameters come from libpq's PG* variables; POOL_MODE says what may be expected.
"""

import os
import threading

import sqlalchemy as sa
from sqlalchemy import orm

MODE = os.environ["POOL_MODE"]
# In session mode, each open connection has one of two backends.
CLIENTS = 2 if MODE == "session" else 8
# Whether a client finds its session again in its next transaction.
KEEPS_STATE = MODE != "transaction"


class Base(orm.DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "sa_author"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(unique=True)
    books: orm.Mapped[list["Book"]] = orm.relationship(
        back_populates="author", cascade="all, delete-orphan", order_by="Book.id"
    )


class Book(Base):
    __tablename__ = "sa_book"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    author_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("sa_author.id"))
    title: orm.Mapped[str]
    author: orm.Mapped[Author] = orm.relationship(back_populates="books")


account = sa.Table(
    "sa_account",
    Base.metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("balance", sa.Integer, nullable=False),
)
numbered = sa.Table(
    "sa_numbered",
    Base.metadata,
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("body", sa.String, nullable=False),
    sa.Column("made", sa.DateTime(timezone=True), server_default=sa.func.now()),
)


def expect(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, expected {wanted!r}")


def expect_failure(what, sqlstate, work):
    try:
        work()
    except sa.exc.DBAPIError as failure:
        expect(f"the SQLSTATE of {what}", failure.orig.sqlstate, sqlstate)
    else:
        raise AssertionError(f"{what} succeeded")


def new_engine(size=1, **options):
    """Without a host in the URL, libpq reads the PG* variables."""
    return sa.create_engine(
        "postgresql+psycopg://", pool_size=size, max_overflow=0, pool_timeout=20, **options
    )


def balances(connection):
    return connection.scalars(sa.select(account.c.balance).order_by(account.c.id)).all()


def core(engine):
    with engine.begin() as connection:
        rows = [{"id": 1, "balance": 10}, {"id": 2, "balance": 20}]
        connection.execute(account.insert(), rows)

    def divide():
        with engine.begin() as connection:
            connection.execute(account.update().values(balance=0))
            connection.execute(sa.text("select 1 / 0"))

    expect_failure("a division by zero", "22012", divide)
    with engine.connect() as connection:
        expect("balances after a rollback", balances(connection), [10, 20])
        connection.execute(account.update().values(balance=0))
        connection.rollback()
        expect("balances after another", balances(connection), [10, 20])
        change = account.update().where(account.c.id == 1).values(balance=account.c.balance + 1)
        expect("a row that was returned", connection.scalar(change.returning(account.c.balance)), 11)
        connection.commit()
        # Not committed: the pool rolls back what it gets.
        connection.execute(account.delete())
    with engine.connect() as connection:
        expect("balances after a connection's return", balances(connection), [11, 20])


def savepoints(engine):
    with engine.begin() as connection:
        outer = connection.begin_nested()
        connection.execute(account.update().values(balance=99))
        outer.rollback()
        with connection.begin_nested():
            insert = account.insert().values(id=3, balance=30)
            connection.execute(insert)
            duplicate = connection.begin_nested()
            expect_failure("a duplicate", "23505", lambda: connection.execute(insert))
            duplicate.rollback()
        expect("balances after savepoints", balances(connection), [11, 20, 30])


def insert_many(engine):
    """One INSERT of many rows, whose keys come back in the order of the rows."""
    count = 2500
    with engine.begin() as connection:
        insert = numbered.insert().returning(
            numbered.c.id, numbered.c.body, sort_by_parameter_order=True
        )
        made = connection.execute(insert, [{"body": f"row {n}"} for n in range(count)]).all()
        expect("bodies returned", [body for _, body in made], [f"row {n}" for n in range(count)])
        ids = [number for number, _ in made]
        expect("keys returned", ids, list(range(1, count + 1)))
        times = connection.scalar(sa.select(sa.func.count(numbered.c.made.distinct())))
        expect("times of one transaction", times, 1)


def streams(engine):
    """Cursors of the server, inside a transaction."""
    number = sa.func.generate_series(1, 1050).column_valued("n")
    with engine.connect() as connection:
        options = {"stream_results": True, "max_row_buffer": 100}
        with connection.execute(sa.select(number), execution_options=options) as rows:
            expect("rows of a stream", sum(n for (n,) in rows), 1050 * 1051 // 2)
        query = sa.select(numbered.c.id).order_by(numbered.c.id)
        with connection.execution_options(yield_per=300).execute(query) as rows:
            sizes = [len(part) for part in rows.partitions()]
        expect("sizes of parts", sizes, [300] * 8 + [100])
        # Closed before its end.
        with connection.execute(query, execution_options=options) as rows:
            expect("the first row of a stream", rows.fetchone(), (1,))
    with engine.connect() as connection:
        expect("cursors left", connection.scalar(sa.text("select count(*) from pg_cursors")), 0)


def objects(engine):
    with orm.Session(engine) as session:
        for name in ("Ada", "Grace"):
            books = [Book(title=f"{name} {n}") for n in range(20)]
            session.add(Author(name=name, books=books))
        session.commit()
        ada = session.scalars(sa.select(Author).filter_by(name="Ada")).one()
        expect("lazily loaded books", [b.title for b in ada.books], [f"Ada {n}" for n in range(20)])
        query = sa.select(Author).options(orm.selectinload(Author.books)).order_by(Author.name)
        counts = [(author.name, len(author.books)) for author in session.scalars(query)]
        expect("eagerly loaded books", counts, [("Ada", 20), ("Grace", 20)])
        try:
            with session.begin_nested():
                session.add(Author(name="Ada"))
                session.flush()
        except sa.exc.IntegrityError:
            pass
        else:
            raise AssertionError("a second Ada was let in")
        del ada.books[10:]
        session.commit()
        ada.name = "Countess"
        session.rollback()
        expect("a name after a rollback", ada.name, "Ada")
        titles = sa.select(Book.title).join(Book.author).where(Author.name == "Ada")
        rows = session.execute(titles.order_by(Book.id).execution_options(yield_per=3)).all()
        expect("titles after a deletion", [t for (t,) in rows], [f"Ada {n}" for n in range(10)])
        session.commit()
        rows = session.scalars(
            sa.update(Author).values(name=Author.name + "!").returning(Author.name),
            execution_options={"synchronize_session": "fetch"},
        ).all()
        expect("names returned", sorted(rows), ["Ada!", "Grace!"])
        expect("a name kept up to date", ada.name, "Ada!")
        session.commit()


def isolation(connection):
    return connection.scalar(sa.text("show transaction_isolation"))


def isolation_levels():
    """Two connections, each inside its transaction."""
    engine = new_engine(size=2)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(account.insert().values(id=4, balance=40))
        # VACUUM runs only outside of a transaction.
        connection.exec_driver_sql("vacuum sa_account")
        connection.rollback()
        expect("balances after autocommit", balances(connection), [11, 20, 30, 40])
    with engine.connect() as connection:
        expect("the level of a connection used again", isolation(connection), "read committed")
    serializable = engine.execution_options(isolation_level="SERIALIZABLE")
    with serializable.connect() as one, serializable.connect() as other:
        expect("a level", isolation(one), "serializable")
        total = sa.select(sa.func.sum(account.c.balance))
        expect("a total", (one.scalar(total), other.scalar(total)), (101, 101))
        one.execute(account.insert().values(id=5, balance=101))
        one.commit()

        def conflict():
            other.execute(account.insert().values(id=6, balance=101))
            other.commit()

        expect_failure("a transaction in another's way", "40001", conflict)
        other.rollback()
    repeatable = engine.connect().execution_options(isolation_level="REPEATABLE READ")
    with repeatable as connection, engine.begin() as other:
        expect("another level", isolation(connection), "repeatable read")
        other.execute(account.delete().where(account.c.id > 3))
    with engine.connect() as connection:
        expect("balances after conflicts", balances(connection), [11, 20, 30])
        expect("the level at last", isolation(connection), "read committed")
    engine.dispose()


def settings_of_a_transaction(engine):
    path_and_timeout = sa.text(
        "select current_setting('search_path'), current_setting('statement_timeout')"
    )
    with engine.connect() as connection:
        before = connection.execute(path_and_timeout).one()
        connection.execute(sa.text("create schema sa_other"))
        connection.execute(sa.text("set local search_path to sa_other"))
        connection.execute(sa.text("create table sa_here as select 1 as one"))
        connection.execute(sa.text("select set_config('statement_timeout', '7s', true)"))
        inside = connection.execute(path_and_timeout).one()
        expect("settings inside a transaction", inside, ("sa_other", "7s"))
        connection.commit()
        expect("settings afterwards", connection.execute(path_and_timeout).one(), before)
        name = connection.scalar(sa.text("select to_regclass('sa_here')"))
        expect("a table out of the path", name, None)
        inspector = sa.inspect(connection)
        expect("tables of a schema", inspector.get_table_names(schema="sa_other"), ["sa_here"])
        columns = [column["name"] for column in inspector.get_columns("sa_numbered")]
        expect("columns of a table", columns, ["id", "body", "made"])


def search_path():
    """Set for the session; a rollback takes back only what its transaction did."""
    engine = new_engine()
    with engine.connect() as connection:
        connection.execute(sa.text("set search_path to sa_other, public"))
        connection.commit()
        expect("a table in the path", connection.scalar(sa.text("select one from sa_here")), 1)
        connection.rollback()
        connection.execute(sa.text("set search_path to pg_catalog"))
        connection.rollback()
        path = connection.scalar(sa.text("show search_path"))
        expect("a path after a rollback", path, "sa_other, public")
    # The pool hands the same connection out again.
    with engine.connect() as connection:
        path = connection.scalar(sa.text("show search_path"))
        expect("a path of a connection used again", path, "sa_other, public")
    engine.dispose()


def temporary_table(while_it_lives):
    engine = new_engine()
    metadata = sa.MetaData()
    scratch = sa.Table(
        "sa_scratch", metadata, sa.Column("id", sa.Integer), prefixes=["temporary"]
    )
    with engine.connect() as connection:
        metadata.create_all(connection, checkfirst=False)
        connection.commit()
        connection.execute(scratch.insert(), [{"id": n} for n in range(100)])
        connection.commit()
        while_it_lives()
        rows = connection.scalars(sa.select(scratch.c.id).order_by(scratch.c.id)).all()
        expect("rows of a temporary table", rows, list(range(100)))
        connection.rollback()
        scratch.drop(connection)
        connection.commit()
    engine.dispose()


def run(threads):
    problems = []

    def guarded(work):
        try:
            work()
        except Exception as problem:
            problems.append(problem)

    running = [threading.Thread(target=guarded, args=(work,)) for work in threads]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if problems:
        raise problems[0]


def crowd(clients):
    """Threads that share a pool: each connection serves many of them in turn."""
    engine = new_engine(size=clients, pool_pre_ping=True)
    query = sa.select(sa.literal(1000) * sa.bindparam("a", type_=sa.Integer) + sa.bindparam("b"))

    def work(number):
        for step in range(20):
            with engine.begin() as connection:
                found = connection.scalar(query, {"a": number, "b": step})
                expect("an answer in a crowd", found, number * 1000 + step)
                one = account.c.id == 1
                found = connection.scalar(sa.select(account.c.balance).where(one))
                expect("a balance in a crowd", found, 11)

    run([lambda number=number: work(number) for number in range(8)])
    engine.dispose()


def settings_on_connect(clients):
    """Each connection has settings of its own, made once, and finds them in each transaction."""
    engine = new_engine(size=clients)
    made = []

    @sa.event.listens_for(engine, "connect")
    def connected(connection, record):
        made.append(record)
        record.info["number"] = number = len(made)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"set statement_timeout to '{number + 20}s'")
            cursor.execute(f"set app.number to '{number}'")
            cursor.execute("select set_config('search_path', 'sa_other,public', false)")
        connection.autocommit = False

    query = sa.text(
        "select current_setting('app.number'), current_setting('statement_timeout'),"
        " (select one from sa_here)"
    )

    def work():
        for step in range(15):
            with engine.connect() as connection:
                number = connection.info["number"]
                row = connection.execute(query).one()
                expect("settings of a connection", row, (str(number), f"{number + 20}s", 1))
                if step % 3:
                    connection.commit()

    run([work] * 8)
    expect("whether the pool keeps its size", len(made) <= clients, True)
    engine.dispose()


def sums(clients):
    """Sessions of the ORM that change the same row."""
    engine = new_engine(size=clients)
    maker = orm.sessionmaker(engine)
    table = sa.Table("sa_sum", sa.MetaData(), sa.Column("total", sa.Integer))
    with engine.begin() as connection:
        table.create(connection)
        connection.execute(table.insert().values(total=0))

    def work(number):
        for step in range(10):
            with maker() as session:
                total = session.scalar(sa.select(table.c.total).with_for_update())
                session.execute(table.update().values(total=total + number))
                if step % 2:
                    session.commit()

    run([lambda number=number: work(number) for number in range(8)])
    with engine.connect() as connection:
        expect("a sum", connection.scalar(sa.select(table.c.total)), 5 * sum(range(8)))
    engine.dispose()


def main():
    engine = new_engine()
    Base.metadata.create_all(engine)
    core(engine)
    savepoints(engine)
    insert_many(engine)
    streams(engine)
    objects(engine)
    settings_of_a_transaction(engine)
    engine.dispose()
    isolation_levels()
    if KEEPS_STATE:
        search_path()
        # The one with the table keeps its backend; the others share what is left.
        temporary_table(lambda: crowd(CLIENTS - 1))
        settings_on_connect(CLIENTS)
    crowd(CLIENTS)
    sums(CLIENTS)
    print("OK")


main()
