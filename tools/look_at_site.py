"""Look at every page of the built site in a real Chromium, at desktop and phone width, in light and dark.

`python -m tools.look_at_site [--site site] [--to FOLDER] [part of an address ...]` stores pictures and fails when a
page is wider than its window, reports an error, or loads something from another host.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tools.browser import Browser, find_chromium

__all__ = ["main"]

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
TALLEST = 6000
# What sticks out of the window, unless it can be scrolled by itself.
STICKING_OUT = """
(width => {
  const clips = e => ['auto', 'scroll', 'hidden'].includes(getComputedStyle(e).overflowX);
  const scrolls = e => e && (clips(e) || scrolls(e.parentElement));
  return [...document.querySelectorAll('.md-content *')]
    .filter(e => e.getBoundingClientRect().right > width + 1 && !scrolls(e.parentElement))
    .slice(0, 3).map(e => e.tagName.toLowerCase() + ' ' + (e.textContent || '').trim().slice(0, 60));
})
"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Generator[str]:
    """Serve a folder on a free port of this computer."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def pages(site: Path, parts: list[str]) -> list[str]:
    """Return the addresses of the pages below the root, those that contain a part if there are any."""
    found = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    return [name for name in found if not parts or any(part in name for part in parts)]


def complaints(browser: Browser, url: str, root: str, width: int) -> list[str]:
    """Open a page and return what is wrong with it."""
    found: list[str] = []
    for event in browser.open(url):
        params = event["params"]
        if event["method"] == "Network.requestWillBeSent" and not params["request"]["url"].startswith((root, "data:")):
            found.append(f"loads {params['request']['url']}")
        if event["method"] == "Runtime.exceptionThrown":
            found.append(f"throws {params['exceptionDetails'].get('text')}")
        if event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            found.append(f"reports {params['entry']['text']} {params['entry'].get('url', '')}")
    wide = browser.ask("document.documentElement.scrollWidth")
    if wide > width:
        found.append(f"is {wide} wide in a window of {width}: {browser.ask(f'{STICKING_OUT}({width})')}")
    return found


def look(browser: Browser, site: Path, to: Path, names: list[str]) -> int:
    """Take a picture of each page in each size and scheme; print what is wrong and return how much is."""
    number = 0
    with served(site) as root:
        for size, (width, height) in SIZES.items():
            for dark in (False, True):
                browser.resize(width, height, dark=dark)
                for name in names:
                    for complaint in complaints(browser, f"{root}/{name}", root, width):
                        number += 1
                        print(f"{name} ({size}, {'dark' if dark else 'light'}) {complaint}")
                    tall = min(browser.ask("document.documentElement.scrollHeight"), TALLEST)
                    title = name.removesuffix(".html").removesuffix("/index").replace("/", "-")
                    scheme = "dark" if dark else "light"
                    browser.take_picture(to / f"{title}.{size}.{scheme}.png", width=width, height=tall)
    return number


def main() -> int:
    """Look at the site; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", type=Path, default=Path("site"), help="the built site")
    parser.add_argument(
        "--to", type=Path, default=Path(tempfile.gettempdir()) / "look-at-site", help="for the pictures"
    )
    parser.add_argument("pages", nargs="*", help="only pages whose address contains one of these")
    options = parser.parse_args()
    chromium = find_chromium()
    if chromium is None:
        print("there is no Chromium on this computer: nothing was looked at")
        return 0
    options.to.mkdir(parents=True, exist_ok=True)
    names = pages(options.site, options.pages)
    if not names:
        print(f"there is no such page in {options.site}")
        return 1
    with Browser(chromium) as browser:
        number = look(browser, options.site, options.to, names)
    print(
        f"{len(names)} pages at {' and '.join(SIZES)} width, light and dark: {number} complaints;"
        f" pictures in {options.to}"
    )
    return bool(number)


if __name__ == "__main__":
    sys.exit(main())
