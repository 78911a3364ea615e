"""Infer unrecorded pointer moves (hovers) from the menus that they opened."""

from __future__ import annotations

from collections.abc import Iterator

from .recording import PAGE_COLUMNS, PageSnapshot


def hovers(before: PageSnapshot, page: PageSnapshot, ref: int) -> Iterator[tuple[int, PageSnapshot]]:
    """Yield the menu items that were hovered before `ref` could be clicked: (place, page) of each.

    `before` is the page of the event before, `page` the one on which `ref` was clicked. The first item is
    hovered on `before`; a later one on the reconstructed page: without the menu that it opened.
    """
    if ref in before.places or ref not in page.places:
        return
    for level, item in enumerate(_items_above(page, page.places[ref])):
        visible_page = _without_menu(page, item) if level else before
        item_ref = page.ref[item]
        if item_ref not in visible_page.places:
            return
        yield visible_page.places[item_ref] + 1, visible_page  # an item's label is its first child


def _items_above(page: PageSnapshot, place: int) -> list[int]:
    """Return the menu items that contain an item's menu, the outermost first."""
    items = []
    while place >= 0:
        if page.tag[place] == "LI":
            items.append(place)
        place = page.parent[place]
    return items[:0:-1]


def _without_menu(page: PageSnapshot, item: int) -> PageSnapshot:
    """Return the page without the menu that opens from an item."""
    menus = [child for child in page.below(item) if page.tag[child] == "UL"]
    removed = {inside for menu in menus for inside in page.below(menu)}
    remaining = [place for place in range(len(page)) if place not in removed]
    new_places = {-1: -1} | {place: index for index, place in enumerate(remaining)}
    columns = {name: [getattr(page, name)[place] for place in remaining] for name in PAGE_COLUMNS}
    columns["parent"] = [new_places[parent] for parent in columns["parent"]]
    return PageSnapshot(**columns)
