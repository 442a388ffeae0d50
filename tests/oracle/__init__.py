"""A second implementation of the metering rules, to compare the real one with.

It is written from the rules alone and works by another method: no state is carried forward. Time is cut into
segments at all facts of a subscriber, and for each segment the past is searched backwards for the fact that
governs it. It is slow and plain on purpose.

`metering` meters and reports; `random_month` makes months full of trouble.
"""
