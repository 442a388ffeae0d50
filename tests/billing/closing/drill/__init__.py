"""The drill of the close: three months closed under kills, with late facts and voids, against an oracle of another method.

`python -m tests.billing.closing.drill` runs it at full size. `world` makes the facts, `growing_store` has them as a
pipeline would, `campaign` closes month after month with the real commands, `oracle` says what the invoices must be, from
the facts alone, and `checks` compares.
"""
