"""Pieces of SVG text. Pictures are put into pages as they are, so that they take the colours of the page's scheme."""

from __future__ import annotations

from html import escape

__all__ = ["FAINT", "INK", "MUTED", "Picture"]

# The variables are those of the site's theme; the grey is readable on white and on black where there is no theme.
INK = "var(--md-default-fg-color, #767676)"
MUTED = "var(--md-default-fg-color--light, #767676)"
FONT = 'font-family="system-ui, sans-serif"'
FAINT = "var(--md-default-fg-color--lighter, #9e9e9e)"


class Picture:
    """An SVG picture of a fixed width in units, which the page scales to its own."""

    def __init__(self, width: int, height: int, title: str, description: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" {FONT}>',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(description)}</desc>",
        ]

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str = "none",
        stroke: str = "none",
        radius: float = 0,
        opacity: float = 1,
        dash: str = "",
    ) -> None:
        """Draw a rectangle."""
        extra = f' rx="{_number(radius)}"' if radius else ""
        extra += f' opacity="{_number(opacity)}"' if opacity != 1 else ""
        extra += f' stroke-dasharray="{dash}"' if dash else ""
        place = f'x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" height="{_number(height)}"'
        self._parts.append(f'<rect {place}{extra} style="fill:{fill};stroke:{stroke}"/>')

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 11,
        fill: str = INK,
        anchor: str = "middle",
        bold: bool = False,
        code: bool = False,
    ) -> None:
        """Write one line; `anchor` says whether x is its start, middle or end."""
        extra = ' font-weight="bold"' if bold else ""
        extra += ' font-family="ui-monospace, monospace"' if code else ""
        place = f'x="{_number(x)}" y="{_number(y)}" font-size="{_number(size)}" text-anchor="{anchor}"'
        self._parts.append(f'<text {place}{extra} style="fill:{fill}">{escape(text)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, *, stroke: str = FAINT) -> None:
        """Draw a line."""
        ends = f'x1="{_number(x1)}" y1="{_number(y1)}" x2="{_number(x2)}" y2="{_number(y2)}"'
        self._parts.append(f'<line {ends} style="stroke:{stroke}"/>')

    def done(self) -> str:
        """Return the text of the picture."""
        return "\n".join([*self._parts, "</svg>", ""])


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
