"""Any table made again beside the old one, compared, and put in its place.

Step by step, and what a crash after each step leaves. Running it again works after each of them.

1. Drop what an earlier run left.                            Nothing.
2. Create `<table>__rebuilt` like the table; a table         Empty tables that nobody reads.
   that is not there at all is made by its migration.
3. Fill it, from the raw events or from the topics.          A part of the rows, in a table that nobody reads.
4. Compare it with the old one.                              As after 3.
Only if asked to switch:
5. Forget the sink's positions in topics whose rows          The sink will read them from the beginning again: the same
   the old table holds beyond the cut of the rebuild.        rows, at the cost of time.
6. Exchange the two tables, one pair after another.          Some tables switched: each holds what it should by itself.
7. Drop the old ones, or rename them to `<table>__replaced`. Old rows in a table that nobody reads.

While it fills nobody may insert into the old tables and then have the new ones switched in: so a switch wants the
sinks stopped from step 1 on. The embedded store makes sure of that by itself, for only one process can have it open.
"""
