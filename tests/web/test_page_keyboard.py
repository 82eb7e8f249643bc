"""The page in a browser: use by keyboard alone."""

import re

from tests.support.browser import keep, names, settled, until


def focused(page):
    return page.evaluate("() => document.activeElement.id || document.activeElement.className")


def test_a_whole_journey_without_a_mouse(visits):
    page = visits.open(permissions=["clipboard-read", "clipboard-write"])
    assert focused(page) == "q"
    page.keyboard.type("rain")
    settled(page)
    page.keyboard.press("ArrowDown")
    first, second = names(page)[:2]
    assert page.evaluate("() => document.activeElement.querySelector('.name').textContent") == first
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#audio').currentTime > 0")
    assert page.locator("#now-name").text_content() == second
    keep(page, "keyboard")
    page.keyboard.press("Space")
    until(page, "document.querySelector('#audio').paused")
    page.keyboard.press("l")
    assert page.locator("#loop").get_attribute("aria-pressed") == "true"
    before = page.evaluate("() => document.querySelector('#audio').currentTime")
    page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('#audio').currentTime > it", before + 0.5)
    page.keyboard.press("c")
    page.locator("#toast", has_text=second).wait_for()
    page.keyboard.press("s")
    page.wait_for_url("**like=**")
    settled(page)
    until(page, "!document.querySelector('#hits').textContent.includes(it)", second)
    assert "hit" in focused(page)  # the focus is not lost with the row
    page.keyboard.press("/")
    assert focused(page) == "q"
    page.keyboard.type("bell")
    until(page, "document.title === 'bell – otomatch'")
    page.keyboard.press("Tab")  # to the buttons beside the field, then the filters
    for _ in range(6):
        if focused(page) == "not":
            break
        page.keyboard.press("Tab")
    assert focused(page) == "not"
    page.keyboard.type("rain")
    page.wait_for_url("**not=rain**")
    settled(page)
    page.keyboard.press("Enter")


def test_the_arrows_lead_from_the_field_down_the_list_and_back(visits):
    page = visits.open("/?q=bell")
    settled(page)
    page.keyboard.press("/")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("() => [...document.querySelectorAll('.hit')].indexOf("
                         "document.activeElement)") == 1  # fmt: skip
    page.keyboard.press("k")
    page.keyboard.press("k")
    assert focused(page) == "q"


def test_every_control_is_reached_by_tab_and_shows_the_focus(visits):
    page = visits.open("/?q=bell")
    settled(page)
    page.locator(".hit .play").first.click()
    wanted = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas, a[href]")]
        .filter((node) => node.checkVisibility() && node.tabIndex >= 0)
        .filter((node) => !node.closest(".hit:nth-child(n + 3)")).length"""
    )
    page.evaluate("() => { document.activeElement.blur(); window.reached = new Set(); }")
    for _ in range(wanted + 3 * 20):
        page.keyboard.press("Tab")
        state = page.evaluate(
            """() => { const node = document.activeElement;
            const seen = node.closest(".ask, .field, .stage, .scrub, .volume") ?? node;
            const own = getComputedStyle(node), outer = getComputedStyle(seen);
            const shown = [own, outer].some((style) => style.outlineStyle !== "none")
                || outer.boxShadow !== "none" || node === document.body;
            if (!node.closest(".hit:nth-child(n + 3)") && node !== document.body)
                window.reached.add(node);
            return [shown, node.id || node.className || node.textContent]; }"""
        )
        assert state[0], f"no visible focus on {state[1]}"
    assert page.evaluate("() => window.reached.size") == wanted


def test_the_first_tab_offers_to_skip_to_the_results(visits):
    page = visits.open("/?q=bell")
    settled(page)
    page.keyboard.press("Tab")
    assert page.locator(".skip").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert focused(page) == "hits"


def test_the_help_lists_the_keys_and_closes_by_escape(visits):
    page = visits.open("/?q=bell")
    settled(page)
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("?")
    help_ = page.get_by_role("dialog", name="Keyboard shortcuts")
    help_.wait_for()
    assert re.search(r"s\s*More like this", help_.text_content())
    keep(page, "help")
    page.keyboard.press("j")  # keys of the page rest meanwhile
    page.keyboard.press("Escape")
    assert help_.is_hidden()


def test_letters_typed_into_a_field_are_only_text(visits):
    page = visits.open()
    page.locator("#q").press_sequentially("jkslcmt?/ ", delay=5)
    assert page.locator("#q").input_value() == "jkslcmt?/ "
    assert page.locator("#help").is_hidden()
    assert page.evaluate("() => document.documentElement.dataset.theme") is None
