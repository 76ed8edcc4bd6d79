"""Reads a page as a browser would and says what is wrong with it."""

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input"}
LOADING = {"src", "srcset", "data", "poster", "action", "formaction", "background", "ping", "xlink:href", "href"}


class PageReader(HTMLParser):
    """Collects tags, texts and ids; asserts that tags close in order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        tag = self.open[-1] if self.open else ""
        is_json = tag == "script" and self.tags[-1][1].get("type") == "application/json"
        self.texts.append(("json" if is_json else tag, data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def text(self, *, outside: tuple[str, ...] = ("script", "style", "json")) -> str:
        return " ".join(data for tag, data in self.texts if tag not in outside)


def check_page(page: str) -> PageReader:
    """Assert what holds for every page: nothing loads, ids are unique and found, pictures are described."""
    read = PageReader(page)
    for tag, attributes in read.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in LOADING:
                assert value.startswith(("data:", "#")), (tag, name, value[:80])
            assert "url(" not in value.replace("url(#", ""), (tag, name)
    styles = " ".join(data for tag, data in read.texts if tag == "style")
    assert "url(" not in styles
    assert "@import" not in styles
    scripts = " ".join(data for tag, data in read.texts if tag == "script")
    for word in ("fetch(", "XMLHttpRequest", "WebSocket", "import(", "http:", "https:", "innerHTML", "eval("):
        assert word not in scripts, word
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in read.tags:
        for name in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(name, ids[0]) in ids
        link = attributes.get("href", "")
        assert not link.startswith("#") or link[1:] in ids
    assert all(attributes.get("alt") for attributes in read.all("img"))
    assert all("scope" in attributes for attributes in read.all("th"))
    assert all(attributes.get("aria-label") for attributes in read.all("svg"))
    return read
