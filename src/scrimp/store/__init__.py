"""The store: every exchange that Scrimp saw, as numbers and digests, on disk before it is sent.

How it works
============

An exchange is written twice. `Ledger.open` returns when the open row is committed, and only then is the request
sent, so that a process killed at any moment leaves a row for everything that may have been billed. `Ledger.close`
is queued: it returns at once and is committed within 100 ms, because a lost close costs a number, not a row.
Closed rows never change.

::

    event loop --open, close--> queue (bounded) --> writer thread --one transaction per group--> database
         ^------------------------ acknowledged opens, one wake-up per group --------------------------'

While the writer commits one group the next one gathers, so that a busy gateway pays for one transaction many times
less often than once per exchange, and a quiet one waits for nothing.

An exchange that opens while no other is under way has nothing to gain from a group, and the hop to the thread and back
costs more than its commit. So it is committed on the event loop itself, with what is queued, where nothing keeps it
waiting: not while anybody else writes, not where the disk was slow of late, never to a server (`shortcut`).

The database is a SQLite file (WAL), or PostgreSQL by URL, which several gateways may write at once. A group can be
committed twice without harm, because opening again changes nothing and a closed row is final; that is what lets the
writer keep its rows while a server is away, and try again when nobody can tell whether a commit arrived.

A file can be deleted, moved or replaced while it is written, and SQLite would go on writing what nobody can read. So
after each group the ledger looks whether its path still names the file, and begins anew with that group where not.

Who knows what: `rows` maps an `Exchange` to a row and back (pure); `schema` is the table in SQLAlchemy and the one
source of `schema.sql` (the statements that make a fresh ledger) and of the migrations; `statements` holds the
statements of everyday work as plain text; `database` is the seam, `sqlite` and `postgres` are the only files that know
the one and the other; `urls` reads a URL and never repeats its password; `writer` is the thread, `shortcut` the way
past it and `retention` its chore; `ledger` puts them together and ships `MemoryLedger`, the fake that tests use. Tests
hold the text files and the SQLAlchemy table together, so that neither SQLAlchemy nor alembic (0.2 s of CPU) is imported
by a process that finds its ledger as it expects it: only a ledger of an older Scrimp needs them, to be upgraded
(`migrations`).

The ledger never holds prompt text or keys: digests, names and numbers only.
"""
