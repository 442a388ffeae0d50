"""A copy of the embedded store that can be taken while the sink fills it, and the store made again from it.

The engine freezes a table in an instant: hard links to its parts, which never change. Tables are frozen one after
another, the sink's positions first: then every other table holds at least what the positions say, and what it holds
beyond them the sink stores once more after a restore, as the same rows.
"""
