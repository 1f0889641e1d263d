"""What makes the documentation: its drawn parts are what the code says, and a broken link is found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = ROOT / "docs" / "explanation" / "decisions"


def run_tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script of tools/ as `make docs` does."""
    command = [sys.executable, "-m", f"tools.{name}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_pictures_and_tables_are_what_the_code_says() -> None:
    """Nothing drawn from the rules of a rollout or the import contract is out of date."""
    answer = run_tool("draw_pictures", "--check")

    assert (answer.returncode, answer.stdout) == (0, "")


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "pictures").glob("*.svg")), ids=lambda path: path.stem)
def test_pictures_can_be_read_by_machines(path: Path) -> None:
    """A picture is well-formed, and says in words what it shows."""
    picture = ElementTree.fromstring(path.read_text())
    texts = [picture.findtext(f"{{http://www.w3.org/2000/svg}}{name}") for name in ("title", "desc")]

    assert all(texts)


def test_every_decision_is_in_the_index() -> None:
    """The list of decisions names each by its title."""
    index = (DECISIONS / "index.md").read_text()
    titles = {path.name: path.read_text().splitlines()[0] for path in DECISIONS.glob("0*.md")}

    wrong = [name for name, title in titles.items() if f"[{re.sub(r'^# [0-9]+[.] ', '', title)}]({name})" not in index]

    assert wrong == []


PAGE = """<html><head><link rel="stylesheet" href="look.css"></head>
<body><h1 id="top">Top</h1>{}</body></html>"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Make a site of two pages and a style sheet."""
    (tmp_path / "other").mkdir()
    (tmp_path / "look.css").write_text("a { background: url(picture.svg) }")
    (tmp_path / "index.html").write_text(PAGE.format(""))
    (tmp_path / "other" / "index.html").write_text('<h1 id="a-b">Other</h1>')
    return tmp_path


@pytest.mark.parametrize(
    "link",
    [
        '<a href="#top">',
        '<a href="other/#a-b">',
        '<a href="other/index.html#a-b">',
        '<a href="/other/">',
        '<a href="https://example.com:8443/x?y#z">',
        '<a href="http://127.0.0.1:5000">',
        '<a href="mailto:ana@example.com">',
        '<img src="data:image/png;base64,AA">',
    ],
)
def test_good_links_pass(site: Path, link: str) -> None:
    """A link to a page, an anchor or another host is fine."""
    (site / "index.html").write_text(PAGE.format(link))

    answer = run_tool("check_links", str(site))

    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ('<a href="#nowhere">', "#nowhere: has no such anchor"),
        ('<a href="other/#nowhere">', "other/#nowhere: has no such anchor"),
        ('<a href="nowhere/">', "nowhere/: does not exist"),
        ('<a href="../above.html">', "../above.html: leads outside"),
        ('<img src="nowhere.png">', "nowhere.png: does not exist"),
        ('<a href="http://exa mple.com/">', "has the host"),
        ('<a href="https:///x">', "has the host"),
        ('<a href="http://example.com:99999/">', "Port out of range"),
        ('<a href="htps://example.com/">', "has the scheme 'htps'"),
        ('<a href="javascript:void(0)">', "is a script"),
        ('<script src="https://example.com/x.js">', "loads https://example.com/x.js"),
        ('<img src="//example.com/x.png">', "loads //example.com/x.png"),
        ('<p id="top">', "the anchor 'top' is there twice"),
    ],
)
def test_bad_links_are_named_with_their_page(site: Path, link: str, reason: str) -> None:
    """A link that leads nowhere, a repeated anchor or anything loaded from elsewhere fails, and is named."""
    (site / "index.html").write_text(PAGE.format(link))

    answer = run_tool("check_links", str(site))

    assert answer.returncode == 1
    assert "index.html: " in answer.stdout
    assert reason in answer.stdout


@pytest.mark.parametrize("text", ["@import 'https://example.com/a.css';", "a { background: url(//example.com/a.svg) }"])
def test_style_sheets_load_nothing_from_elsewhere(site: Path, text: str) -> None:
    """A font or picture of another host in a style sheet fails."""
    (site / "look.css").write_text(text)

    answer = run_tool("check_links", str(site))

    assert (answer.returncode, "look.css: loads" in answer.stdout) == (1, True)


def test_a_site_without_pages_fails(tmp_path: Path) -> None:
    """A folder that no site was built into is not taken for a site without broken links."""
    answer = run_tool("check_links", str(tmp_path))

    assert (answer.returncode, "there is no page" in answer.stdout) == (1, True)


@pytest.mark.parametrize("page", ['<h2 id="mlflow_utilities.Client">Client</h2>', None])
def test_two_builds_describe_the_same(site: Path, tmp_path_factory: pytest.TempPathFactory, page: str | None) -> None:
    """A page, or a name of the package, that only one of two engines built fails."""
    other = tmp_path_factory.mktemp("other")
    (other / "index.html").write_text("<h1>Top</h1>")
    (site / "other" / "index.html").unlink()
    if page:
        (other / "new.html").write_text("<h1>New</h1>")
    (site / "new.html").write_text(page or "<h1>New</h1>")

    answer = run_tool("check_links", str(site), str(other))

    assert answer.returncode == 1
    assert f"{other} has no new.html#" in answer.stdout


def test_two_builds_of_the_same_pass(site: Path) -> None:
    """What the same pages call their anchors for people does not matter."""
    answer = run_tool("check_links", str(site), str(site))

    assert (answer.returncode, answer.stderr) == (0, "")
