#!/usr/bin/env python3
"""Checks the links of a built site: docs-links.py SITE

Each relative link must lead to a file of the site, and each fragment to an element of its page. A link to a file of the
repository that is not part of the site becomes one to the forge, and a link to a README one to the index that mdBook
makes of it. A page below docs/ or policies/ must be part of it.
Links to other sites are not looked at.
"""

import re
import sys
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from posixpath import join, normpath
from urllib.parse import unquote, urlsplit

FORGE = "https://github.com/sallyport-dev/sallyport/blob/main/"
REPOSITORY = Path(__file__).parent.parent
# Pages that mdBook makes itself.
MADE = {"404.html", "toc.html"}


class Page(HTMLParser):
    """The links of a page, and the names that others may link to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.names = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id" or (name == "name" and tag == "a"):
                self.names.add(value)
            if name in ("href", "src") and value:
                self.links.add(value)


def source_of(path):
    """Returns the repository's file for a file of the site, and its name."""
    for name in (path, re.sub(r"\.html$", ".md", path), re.sub(r"index\.html$", "README.md", path)):
        if name != "." and (REPOSITORY / name).is_file():
            return name
    return path if path != "." and (REPOSITORY / path).is_dir() else None


def replaced(text, link, there):
    """Returns the text of a page with another link; with the old one if there is no other."""
    return text.replace(f'"{escape(link)}"', f'"{escape(there)}"') if there else text


def main():
    site = Path(sys.argv[1])
    texts = {file.relative_to(site).as_posix(): file.read_text() for file in sorted(site.rglob("*.html"))}
    pages = {name: Page(text) for name, text in texts.items() if name not in MADE}
    wrong, checked, led_away = [], 0, 0
    for name, page in pages.items():
        changed = texts[name]
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            checked += 1
            target = normpath(join(name, "..", unquote(parts.path))) if parts.path else name
            if parts.path.endswith("/") or (site / target).is_dir():
                target = normpath(join(target, "index.html"))
            there = None
            if target.endswith("/README.html"):
                # mdBook renames these pages, and leaves links to them as they are.
                target = target.removesuffix("README.html") + "index.html"
                there = link.replace("README.html", "index.html")
            if (site / target).is_file():
                changed = replaced(changed, link, there)
                fragment = unquote(parts.fragment)
                if fragment and target in pages and fragment not in pages[target].names:
                    wrong.append(f"{name}: {link}: no such heading")
                continue
            source = source_of(target) or source_of(target.removesuffix("/index.html"))
            if source is None:
                wrong.append(f"{name}: {link}: there is no such file")
            elif re.match(r"(docs|policies)/.*\.md$", source):
                wrong.append(f"{name}: {link}: {source} is not in docs/site/SUMMARY.md")
            else:
                led_away += 1
                there = FORGE + source + ("#" + parts.fragment if parts.fragment else "")
                changed = replaced(changed, link, there)
        if changed != texts[name]:
            (site / name).write_text(changed)
    for line in sorted(set(wrong)):
        print(line, file=sys.stderr)
    if wrong:
        sys.exit(f"{len(set(wrong))} links lead nowhere")
    print(f"{checked} links of {len(pages)} pages are right; {led_away} lead to the repository")


main()
