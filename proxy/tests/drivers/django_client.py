"""Django's ORM through the sidecar, with psycopg and connections that are kept between requests.
Prints OK, or fails with what differed.

Connection parameters come from libpq's PG* variables; POOL_MODE says what may be expected.
"""

import datetime
import os
import threading
import time
import zoneinfo

import django
from django import db
from django.apps import AppConfig
from django.conf import settings
from django.db import connection, connections, models, transaction
from django.db.models import Count, F, Q, Sum, Value
from django.db.models.functions import Concat, TruncDay
from django.utils import timezone

MODE = os.environ["POOL_MODE"]
# In session mode, each open connection has one of two backends.
CLIENTS = 2 if MODE == "session" else 8
# Whether a client finds its session again in its next transaction.
KEEPS_STATE = MODE != "transaction"
KOLKATA = zoneinfo.ZoneInfo("Asia/Kolkata")


class Application(AppConfig):
    """This file is the application: related objects need one."""

    name = "__main__"
    label = "dj"


def database(**more):
    # psycopg finds host, port and user in the PG* variables.
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PGDATABASE"],
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        **more,
    }


settings.configure(
    DATABASES={
        "default": database(),
        # With parameters bound by the server, statements prepared, and a time zone of its own.
        "kolkata": database(
            TIME_ZONE="Asia/Kolkata", OPTIONS={"server_side_binding": True, "prepare_threshold": 2}
        ),
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["__main__.Application", "django.contrib.postgres"],
    TIME_ZONE="Europe/Paris",
    USE_TZ=True,
)
django.setup()


class Author(models.Model):
    name = models.CharField(max_length=50, unique=True)
    facts = models.JSONField(default=dict)


class Book(models.Model):
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    title = models.CharField(max_length=50)
    copies = models.IntegerField(default=0)


class Moment(models.Model):
    happened = models.DateTimeField()


def expect(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, expected {wanted!r}")


def value(sql, using="default"):
    with connections[using].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def schema():
    with connection.schema_editor() as editor:
        for model in (Author, Book, Moment):
            editor.create_model(model)
    try:
        with connection.schema_editor() as editor:
            editor.delete_model(Moment)
            editor.create_model(Author)
    except db.ProgrammingError:
        pass
    else:
        raise AssertionError("a table was made twice")
    tables = [name for name in connection.introspection.table_names() if name.startswith("dj_")]
    expect("tables", sorted(tables), ["dj_author", "dj_book", "dj_moment"])
    index = models.Index("title", name="dj_title")
    # Outside of a transaction.
    with connection.schema_editor(atomic=False) as editor:
        editor.add_index(Book, index, concurrently=True)
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "dj_book")
    expect("an index's columns", found["dj_title"]["columns"], ["title"])


def rows():
    ada = Author.objects.create(name="Ada", facts={"born": 1815, "tags": ["maths", "é"]})
    grace = Author(name="Grace")
    grace.save()
    books = [Book(author=ada, title=f"Ada {n:03}", copies=n) for n in range(300)]
    made = Book.objects.bulk_create(books, batch_size=100)
    expect("keys that came back", [book.pk for book in made], list(range(1, 301)))
    grace.books.create(title="Compilers", copies=7)
    expect("a value in JSON", Author.objects.get(facts__born__gt=1800).facts["tags"][1], "é")
    changed = Book.objects.filter(copies__lt=10, author__name="Ada").update(copies=F("copies") + 1)
    expect("rows updated", changed, 10)
    titles = Book.objects.filter(Q(copies=10) | Q(title__startswith="Comp")).order_by("title")
    wanted = ["Ada 009", "Ada 010", "Compilers"]
    expect("rows found", list(titles.values_list("title", flat=True)), wanted)
    counts = Author.objects.annotate(n=Count("books"), sum=Sum("books__copies")).order_by("name")
    expect("sums", list(counts.values_list("n", "sum")), [(300, 44850 + 10), (1, 7)])
    for book in made:
        book.copies = 1
    expect("rows of bulk_update", Book.objects.bulk_update(made, ["copies"], batch_size=150), 300)
    again = [Author(name="Ada", facts={"born": 1816}), Author(name="Edsger")]
    Author.objects.bulk_create(
        again, update_conflicts=True, unique_fields=["name"], update_fields=["facts"]
    )
    ada.refresh_from_db()
    expect("a row that was there", ada.facts, {"born": 1816})
    expect("get_or_create", Author.objects.get_or_create(name="Ada"), (ada, False))
    _, created = Author.objects.update_or_create(name="Donald", defaults={"facts": {"tex": 1}})
    expect("update_or_create", created, True)
    removed, _ = Author.objects.filter(name__in=["Edsger", "Donald", "Grace"]).delete()
    expect("rows deleted, a book among them", removed, 4)
    related = Book.objects.select_related("author").filter(copies=1)
    expect("authors of books", {book.author.name for book in related}, {"Ada"})
    with connection.cursor() as cursor:
        with cursor.copy("copy dj_book (title) to stdout") as copy:
            expect("rows copied out", sum(1 for _ in copy.rows()), 300)


def nested_transactions():
    said = []
    author = Author.objects.get(name="Ada")
    with transaction.atomic(durable=True):
        Author.objects.create(name="Alan")
        transaction.on_commit(lambda: said.append("committed"))
        try:
            with transaction.atomic():
                transaction.on_commit(lambda: said.append("never"))
                Author.objects.create(name="Barbara")
                with transaction.atomic():
                    Author.objects.create(name="Ada")
        except db.IntegrityError:
            pass
        else:
            raise AssertionError("a second Ada was let in")
        mark = transaction.savepoint()
        Author.objects.all().delete()
        transaction.savepoint_rollback(mark)
        expect("what was called before the commit", said, [])
    expect("what was called at the commit", said, ["committed"])
    names = Author.objects.order_by("name").values_list("name", flat=True)
    expect("names after a partial rollback", list(names), ["Ada", "Alan"])
    try:
        with transaction.atomic():
            author.books.all().delete()
            with transaction.atomic(savepoint=False):
                value("select 1 / 0")
    except db.DataError:
        pass
    else:
        raise AssertionError("a division by zero succeeded")
    with transaction.atomic():
        Author.objects.all().delete()
        transaction.set_rollback(True)
    expect("names after rollbacks", list(names.all()), ["Ada", "Alan"])
    expect("books after rollbacks", author.books.count(), 300)
    transaction.set_autocommit(False)
    Author.objects.filter(name="Alan").delete()
    transaction.rollback()
    Author.objects.filter(name="Alan").update(name="Turing")
    transaction.commit()
    transaction.set_autocommit(True)
    expect("names without autocommit", list(names.all()), ["Ada", "Turing"])


def locks():
    """A row that one transaction has locked, seen from another."""
    ada = Author.objects.filter(name="Ada")
    found = {}

    def look():
        with transaction.atomic():
            free = Author.objects.select_for_update(skip_locked=True)
            found["free"] = [author.name for author in free]
        try:
            with transaction.atomic():
                ada.select_for_update(nowait=True).get()
        except db.OperationalError as failure:
            found["locked"] = failure.__cause__.sqlstate

    with transaction.atomic():
        ada.select_for_update(of=("self",)).get()
        run([look])
    expect("what another saw", found, {"free": ["Turing"], "locked": "55P03"})
    with transaction.atomic():
        expect("a row that is free again", ada.select_for_update(nowait=True).count(), 1)


def cursors():
    """Server-side cursors; they end with their transaction."""
    books = Book.objects.order_by("pk")
    for name in ("default", "kolkata"):
        with transaction.atomic(using=name):
            pages = books.using(name).iterator(chunk_size=40)
            expect("rows of an iterator", [b.pk for b in pages], list(range(1, 301)))
            pages = books.using(name).prefetch_related("author").iterator(chunk_size=100)
            expect("a row of another", next(pages).author.name, "Ada")
            cursors = value("select count(*) from pg_cursors", using=name)
            expect("cursors open inside a transaction", cursors, 1)
        expect("cursors left", value("select count(*) from pg_cursors", using=name), 0)
    connections["kolkata"].close()


def held_cursors(while_one_is_open):
    """Outside of a transaction, Django declares them WITH HOLD: they last as long as it reads."""
    books = Book.objects.order_by("pk").iterator(chunk_size=50)
    for book in books:
        if book.pk % 50 == 1:
            Book.objects.filter(pk=book.pk).update(copies=2)
        expect("a row as it was", book.copies, 1)
        if book.pk == 120:
            while_one_is_open()
        if book.pk == 220:
            break
    expect("held cursors", value("select count(*) from pg_cursors where is_holdable"), 1)
    books.close()
    expect("cursors after their end", value("select count(*) from pg_cursors"), 0)
    expect("rows updated on the way", Book.objects.filter(copies=2).count(), 5)


def time_zones():
    """Both connections find their own zone, in turns."""
    moment = datetime.datetime(2024, 2, 29, 22, 30, tzinfo=datetime.timezone.utc)
    Moment.objects.create(happened=moment)
    there = Moment.objects.using("kolkata")
    text = "select happened::text from dj_moment"
    for _ in range(5):
        expect("a zone", value("show timezone"), "UTC")
        expect("another zone", value("show timezone", using="kolkata"), "Asia/Kolkata")
        expect("a time", value(text), "2024-02-29 22:30:00+00")
        expect("a time elsewhere", value(text, using="kolkata"), "2024-03-01 04:00:00+05:30")
        expect("an aware time", Moment.objects.get().happened, moment)
        expect("an aware time elsewhere", there.get().happened, moment)
        # A day begins where the program is, not where the connection is.
        day = Moment.objects.annotate(day=TruncDay("happened")).get().day
        expect("a day in Paris", (day.day, day.utcoffset()), (29, datetime.timedelta(hours=1)))
        with timezone.override(KOLKATA):
            expect("moments of a day", Moment.objects.filter(happened__day=1).count(), 1)
            expect("moments of a date", there.filter(happened__date="2024-03-01").count(), 1)
        expect("moments of another day", Moment.objects.filter(happened__day=29).count(), 1)
    with transaction.atomic():
        connection.cursor().execute("set local time zone 'Asia/Tokyo'")
        expect("a time in a transaction", value(text), "2024-03-01 07:30:00+09")
    expect("a time after it", value(text), "2024-02-29 22:30:00+00")


def prepared_statements():
    books = Book.objects.using("kolkata")
    for number in range(1, 31):
        title = Concat("title", Value(f" {number}"))
        found = books.annotate(label=title).values_list("label").get(pk=number)
        expect("a row by a prepared statement", found, (f"Ada {number - 1:03} {number}",))
        with transaction.atomic(using="kolkata"):
            books.filter(pk=number).update(copies=F("copies") + 0)
    connections["kolkata"].close()


def requests():
    """What Django does around requests: connections are checked and kept, or made anew."""
    connection.ensure_connection()
    kept = connection.connection
    for number in range(10):
        db.close_old_connections()
        expect("an answer to a request", Author.objects.count(), 2)
        if number % 3 == 0:
            try:
                value("select 1 / 0")
            except db.DataError:
                pass
            else:
                raise AssertionError("a division by zero succeeded")
        db.close_old_connections()
        expect("whether the connection was kept", connection.connection is kept, True)
    connection.close_at = time.monotonic()
    db.close_old_connections()
    expect("a connection after its time", connection.connection, None)
    expect("an answer on a new connection", Author.objects.count(), 2)
    expect("whether it is a new connection", connection.connection is not kept, True)


def session_state():
    with connection.cursor() as cursor:
        cursor.execute("set lock_timeout to '19s'")
        cursor.execute("create temporary table dj_scratch as select n from generate_series(1, 9) n")
    with transaction.atomic():
        expect("a temporary table", value("select sum(n) from dj_scratch"), 45)
    db.close_old_connections()
    expect("a temporary table in the next request", value("select count(*) from dj_scratch"), 9)
    expect("a setting in the next request", value("show lock_timeout"), "19s")
    connection.close()
    expect("a table of another session", value("select to_regclass('dj_scratch')"), None)


def run(threads):
    """Django gives each thread connections of its own, and does not close them at its end."""
    problems = []

    def guarded(work):
        try:
            work()
        except Exception as problem:
            problems.append(problem)
        finally:
            connections.close_all()

    running = [threading.Thread(target=guarded, args=(work,)) for work in threads]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if problems:
        raise problems[0]


def crowd(clients, book):
    def work(number):
        mine = None
        for step in range(12):
            db.close_old_connections()
            with transaction.atomic():
                copies = Book.objects.select_for_update().get(pk=book.pk).copies
                Book.objects.filter(pk=book.pk).update(copies=copies + 1)
            mine = mine or connection.connection
            expect("whether a thread's connection was kept", connection.connection is mine, True)
            answer = value(f"select {number} * 1000 + {step}")
            expect("an answer in a crowd", answer, number * 1000 + step)

    run([lambda number=number: work(number) for number in range(clients)])
    book.refresh_from_db()
    expect("copies counted by a crowd", book.copies, 12 * clients)


def main():
    schema()
    rows()
    nested_transactions()
    locks()
    cursors()
    author = Author.objects.get(name="Turing")
    if KEEPS_STATE:
        book = author.books.create(title="Counted beside a cursor")
        # The one with the cursor keeps its backend; the others share what is left.
        held_cursors(lambda: crowd(CLIENTS - 1, book))
        session_state()
    time_zones()
    prepared_statements()
    requests()
    book = author.books.create(title="Counted")
    # In session mode, it would keep another thread's from its backend.
    connection.close()
    crowd(CLIENTS, book)
    connections.close_all()
    print("OK")


main()
