"""The store: every exchange that Scrimp saw, as numbers and digests, on disk before it is sent.

How it works
============

An exchange is written twice. `Ledger.open` returns when the open row outlives this process, and only then is the
request sent, so that a process killed at any moment leaves a row for everything that may have been billed.
`Ledger.close` is queued: it returns at once and is committed within 100 ms, because a lost close costs a number, not a
row. Closed rows never change.

::

    event loop --open--> journal, a file beside the ledger (SQLite only)
         |                  ^ emptied
         '--open, close--> queue (bounded) --> writer thread --one transaction per group--> database
                            ^---- without a journal: acknowledged opens, one wake-up per group ----'

While the writer commits one group the next one gathers, so that a busy gateway pays for one transaction many times
less often than once per exchange; of an exchange that opens and closes within a group one row is written.

A commit for each open row would be half of what recording costs, so beside a file the row is appended to a journal and
committed with its group. Whoever opens the ledger next takes over what a process that is gone has left there, and
readers look there, too (`journal`). A server has no such place: an open waits for its group there.

The database is a SQLite file (WAL), or PostgreSQL by URL, which several gateways may write at once. A group can be
committed twice without harm, because opening again changes nothing and a closed row is final; that is what lets the
writer keep its rows while a server is away, and try again when nobody can tell whether a commit arrived.

A file can be deleted, moved or replaced while it is written, and SQLite would go on writing what nobody can read. So
after each group the ledger looks whether its path still names the file, and begins anew with that group where not.

Who knows what: `rows` maps an `Exchange` to a row and back (pure); `schema` is the table in SQLAlchemy and the one
source of `schema.sql` (the statements that make a fresh ledger) and of the migrations; `statements` holds the
statements of everyday work as plain text; `database` is the seam, `sqlite` and `postgres` are the only files that know
the one and the other; `urls` reads a URL and never repeats its password; `writer` is the thread, `journal` what keeps
its queue and `retention` its chore; `ledger` puts them together and ships `MemoryLedger`, the fake that tests use.
Tests hold the text files and the SQLAlchemy table together, so that neither SQLAlchemy nor alembic (0.2 s of CPU) is
imported by a process that finds its ledger as it expects it: only a ledger of an older Scrimp needs them, to be
upgraded (`migrations`).

The ledger never holds prompt text or keys: digests, names and numbers only.
"""
