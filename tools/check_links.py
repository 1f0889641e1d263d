"""Check every link of the built site, of README.md and of CHANGELOG.md.

`python -m tools.check_links SITE ...`: each link and anchor inside must exist, and nothing that a page loads may come
from another host. No network is used: of a link to another host only the syntax is checked, not whether it answers.
Several sites are the same documentation built by several engines: they must have the same pages, with the same names of
the package described.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import markdown

__all__ = ["broken_links", "broken_links_of_markdown", "differences", "main"]

ROOT = Path(__file__).resolve().parents[1]
# The attribute by which a tag links, and that by which it loads something.
LINKS = {"a": "href", "area": "href"}
LOADS = {
    "img": "src",
    "script": "src",
    "link": "href",
    "source": "src",
    "iframe": "src",
    "use": "href",
    "object": "data",
}
OUTSIDE = ("http", "https")
LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOST = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*", re.IGNORECASE)
IN_STYLE = re.compile(r"(?:url\(\s*|@import\s+)['\"]?((?:https?:)?//[^'\")\s]+)")


@dataclass(slots=True)
class Page:
    """What a page has to link to, and what it links to and loads."""

    anchors: set[str] = field(default_factory=set[str])
    links: list[str] = field(default_factory=list[str])
    loads: list[str] = field(default_factory=list[str])
    repeated: list[str] = field(default_factory=list[str])


class Reader(HTMLParser):
    """Collects the anchors and links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take what a tag has of it."""
        found = {name: value for name, value in attrs if value is not None}
        anchor = found.get("id")
        if anchor is not None and anchor in self.page.anchors:
            self.page.repeated.append(anchor)
        self.page.anchors.update(value for value in (anchor, found.get("name")) if value)
        if tag in LINKS and LINKS[tag] in found:
            self.page.links.append(found[LINKS[tag]])
        if tag in LOADS and LOADS[tag] in found:
            # The address of the page itself names a host, and is not loaded.
            named = found.get("rel") in ("canonical", "next", "prev", "alternate")
            where = self.page.links if named else self.page.loads
            where.append(found[LOADS[tag]])


def read_page(text: str) -> Page:
    """Return what an HTML page has and links to."""
    reader = Reader()
    reader.feed(text)
    return reader.page


def read_markdown(path: Path) -> Page:
    """Return what a Markdown file has and links to; its headings are anchors."""
    return read_page(markdown.markdown(path.read_text(), extensions=["tables", "fenced_code", "toc"]))


def broken_links(site: Path) -> list[str]:
    """Return what is wrong with the links of a built site, each with its page."""
    site = site.resolve()
    pages = {path: read_page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    found = [] if pages else [f"{site}: there is no page"]
    for path, page in pages.items():
        where = path.relative_to(site)
        found += [f"{where}: the anchor {anchor!r} is there twice" for anchor in page.repeated]
        found += [f"{where}: loads {url}" for url in page.loads if urlsplit(url).netloc]
        for url in dict.fromkeys([*page.links, *page.loads]):
            reason = _problem(url, path, site, pages)
            if reason:
                found.append(f"{where}: {url}: {reason}")
    for path in sorted(site.rglob("*.css")):
        found += [f"{path.relative_to(site)}: loads {url}" for url in IN_STYLE.findall(path.read_text())]
    return found


def broken_links_of_markdown(path: Path, root: Path) -> list[str]:
    """Return what is wrong with the links of a Markdown file of the repository."""
    path, root = path.resolve(), root.resolve()
    page = read_markdown(path)
    found: list[str] = []
    for url in dict.fromkeys([*page.links, *page.loads]):
        reason = _problem(url, path, root, {path: page})
        if reason:
            found.append(f"{path.relative_to(root)}: {url}: {reason}")
    return found


def differences(sites: list[Path]) -> list[str]:
    """Return the names of the package that one of several builds describes, and another does not."""
    described = {
        site: {
            f"{path.relative_to(site)}#{anchor}"
            for path in site.rglob("*.html")
            for anchor in ("", *read_page(path.read_text()).anchors)
            if not anchor or anchor.startswith("mlflow_utilities.")
        }
        for site in sites
    }
    whole = set[str]().union(*described.values())
    return [f"{site} has no {name}" for site, names in described.items() for name in sorted(whole - names)]


def _problem(url: str, source: Path, root: Path, pages: dict[Path, Page]) -> str:
    try:
        parts = urlsplit(url)
        outside = bool(parts.scheme or parts.netloc)
        if outside:
            return _problem_outside(parts)
    except ValueError as error:
        return str(error)
    path = source
    if parts.path:
        start = root if parts.path.startswith("/") else source.parent
        path = (start / unquote(parts.path).lstrip("/")).resolve()
        if not path.is_relative_to(root):
            return "leads outside"
    if path.is_dir() and source.suffix == ".html":
        path = path / "index.html"
    if not path.exists():
        return "does not exist"
    if parts.fragment and unquote(parts.fragment) not in _anchors(path, pages):
        return "has no such anchor"
    return ""


def _anchors(path: Path, pages: dict[Path, Page]) -> set[str]:
    if path not in pages and path.suffix == ".md":
        return read_markdown(path).anchors
    return pages[path].anchors if path in pages else set()


def _problem_outside(parts: SplitResult) -> str:
    if parts.scheme in ("mailto", "data", "javascript"):
        return "" if parts.scheme != "javascript" else "is a script"
    if parts.scheme not in OUTSIDE:
        return f"has the scheme {parts.scheme!r}"
    if not HOST.fullmatch(parts.hostname or ""):
        return f"has the host {parts.hostname!r}"
    return "" if parts.port is None or parts.port else "has the port 0"


def main(sites: list[str]) -> int:
    """Print what is wrong; return the exit code."""
    found = [f"{site}/{line}" for site in sites for line in broken_links(Path(site))]
    found += differences([Path(site) for site in sites])
    for name in ("README.md", "CHANGELOG.md"):
        found += broken_links_of_markdown(ROOT / name, ROOT)
    print("\n".join(found) or f"every link inside {', '.join([*sites, 'README.md', 'CHANGELOG.md'])} leads somewhere")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
