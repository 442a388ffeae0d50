"""Colours that people tell apart whatever they see of red and green: those of Okabe and Ito, a little lighter for a dark page.

They differ in lightness too, and none says alone what a text or a number does not say as well.
"""

BLUE = "#56B4E9"
ORANGE = "#E69F00"
GREEN = "#009E73"
YELLOW = "#F0E442"
DEEP_BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#C7C7C7"

#: Of series in order of size; the last one is for all others together.
SERIES = (BLUE, ORANGE, GREEN, YELLOW, PURPLE, DEEP_BLUE, GREY)

GOOD, LOOK, BAD = GREEN, ORANGE, VERMILION
