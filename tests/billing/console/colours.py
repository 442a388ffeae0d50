"""Contrast of two colours as WCAG 2 has it, and the colours of a style sheet."""

import re
from fractions import Fraction

#: Of text that is not large, and of what else must be seen to understand a page (WCAG 2.2, 1.4.3 and 1.4.11).
TEXT, GRAPHICS = 4.5, 3.0


def contrast(one: str, other: str) -> float:
    """From 1 (the same) to 21, of two colours #rrggbb."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def schemes_of(style_sheet: str) -> dict[str, dict[str, str]]:
    """The colours by name, in the light and in the dark scheme: what `:root` says, and says anew for the dark one."""
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", root))
        for root in re.findall(r":root \{(.*?)\}", style_sheet, re.DOTALL)
    )
    return {"light": light, "dark": dark}


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(int(colour[place : place + 2], 16)) for place in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(value: int) -> float:
    part = Fraction(value, 255)
    return float(part) / 12.92 if part <= Fraction(4045, 100_000) else ((float(part) + 0.055) / 1.055) ** 2.4
