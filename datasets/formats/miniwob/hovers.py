"""Moves of the pointer, which nobody recorded: what they opened in a menu shows that they were made."""

from __future__ import annotations

from collections.abc import Iterator

from .recording import PAGE_COLUMNS, PageSnapshot


def hovers(before: PageSnapshot, page: PageSnapshot, ref: int) -> Iterator[tuple[int, PageSnapshot]]:
    """Give the menu items that must have been pointed at for an item to be there: their places, their pages.

    `before` is the page that was seen last, `page` the one on which `ref` was clicked. The first item is
    pointed at on `before`; a later one on the page as it must have been: without what opened from it.
    """
    if ref in before.places or ref not in page.places:
        return
    for level, item in enumerate(_items_above(page, page.places[ref])):
        shown = _closed(page, item) if level else before
        named = page.ref[item]
        if named not in shown.places:
            return
        yield shown.places[named] + 1, shown  # what an item shows is its first child


def _items_above(page: PageSnapshot, place: int) -> list[int]:
    """Return the items of the menus that lead to an item's own, the outermost first."""
    found = []
    while place >= 0:
        if page.tag[place] == "LI":
            found.append(place)
        place = page.parent[place]
    return found[:0:-1]


def _closed(page: PageSnapshot, item: int) -> PageSnapshot:
    """Return the page without the menu that opens from an item."""
    menus = [one for one in page.below(item) if page.tag[one] == "UL"]
    gone = {inside for menu in menus for inside in page.below(menu)}
    kept = [place for place in range(len(page)) if place not in gone]
    moved = {-1: -1} | {place: at for at, place in enumerate(kept)}
    columns = {name: [getattr(page, name)[place] for place in kept] for name in PAGE_COLUMNS}
    columns["parent"] = [moved[one] for one in columns["parent"]]
    return PageSnapshot(**columns)
