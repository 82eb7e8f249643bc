"""The page in a browser: themes, window sizes and accessibility."""

from importlib.util import find_spec

import pytest

from tests.support.browser import keep, search, settled, still, until

needs_axe = pytest.mark.skipif(
    find_spec("axe_playwright_python") is None,
    reason="axe-playwright-python is not installed: pip install -e '.[dev]'",
)
SIZES = {"phone": (360, 740), "tablet": (820, 1100), "desk": (1440, 900)}


def background(page):
    return page.evaluate("() => getComputedStyle(document.documentElement).backgroundColor")


def ready(page):
    """Wait for the map and the pictures in sight."""
    settled(page)
    until(page, "document.querySelector('#map-summary').textContent")
    still(page)


def play(page, place):
    """Play a result and stop it again, so that the player is in sight."""
    page.locator(".hit .play").nth(place).click()
    until(page, "document.querySelector('#audio').currentTime > 0.2")
    page.locator("#toggle").click()


def violations(page):
    """Return the violations that axe finds, one line each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found
        for node in each["nodes"]
    ]


def test_the_theme_is_the_systems_until_another_is_chosen_and_remembered(visits):
    page = visits.open(color_scheme="dark")
    dark = background(page)
    button = page.get_by_role("button", name="Dark theme")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    light = background(page)
    assert dark != light
    assert button.get_attribute("aria-pressed") == "false"
    page.reload()
    assert background(page) == light
    button.click()  # the system's again, and no longer pinned
    assert background(page) == dark
    page.emulate_media(color_scheme="light")
    assert background(page) == light


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_fits_without_scrolling_sideways(visits, size, scheme):
    width, height = SIZES[size]
    page = visits.open(
        "/?q=rain&not=bell&min=0.1",
        color_scheme=scheme,
        viewport={"width": width, "height": height},
    )
    ready(page)
    play(page, 1)
    views = ["list", "map"]
    for view in views:
        if view == "map":
            page.locator("#view-map" if width <= 900 else "#map-wide").click()
            still(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        assert page.locator("#map" if view == "map" else "#results").is_visible()
        keep(page, f"{size}-{scheme}-{view}")


def test_long_words_do_not_widen_a_phone(visits):
    page = visits.open("/?q=bell&k=40", viewport={"width": 360, "height": 740})
    settled(page)
    page.locator("#filters-toggle").click()
    page.locator("#not").fill("w" * 200)
    page.locator("#not").press("Enter")
    page.wait_for_url("**not=www**")
    settled(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    chip = page.locator("#active .chip").bounding_box()
    assert chip["x"] + chip["width"] <= 360
    keep(page, "phone-filters")


def test_text_can_be_twice_as_large(visits):
    page = visits.open("/?q=rain", viewport={"width": 640, "height": 480})  # 1280 at 200 %
    ready(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 640
    assert page.locator(".hit .name").first.is_visible()


def test_motion_is_reduced_on_request(visits):
    page = visits.open("/?q=rain", reduced_motion="reduce")
    settled(page)
    seconds = page.evaluate(
        """() => { const node = document.querySelector("#toast");
        return Number.parseFloat(getComputedStyle(node).transitionDuration); }"""
    )
    assert seconds < 0.001


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_state_of_the_page_has_a_fault_of_accessibility(visits, scheme):
    visits.may_fail = True
    # The checker is put in from outside, which the page's own policy would not allow.
    page = visits.open("/", color_scheme=scheme, bypass_csp=True)
    until(page, "document.querySelector('#map-summary').textContent")
    found = {"intro": violations(page)}
    search(page, "rain")
    page.locator("#not").fill("bell")
    page.locator("#not").press("Enter")
    page.wait_for_url("**not=bell**")
    ready(page)
    play(page, 0)
    page.locator(".hit").nth(1).hover()
    found["results"] = violations(page)
    page.locator("#help-open").click()
    found["help"] = violations(page)
    page.keyboard.press("Escape")
    page.route("**/api/search?*", lambda route: route.fulfill(status=500, body="{}"))
    page.locator("#q").fill("bell")
    page.get_by_text("Server error").wait_for()
    still(page)
    found["error"] = violations(page)
    page.set_viewport_size({"width": 360, "height": 740})
    page.locator("#view-map").click()
    still(page)
    found["phone"] = violations(page)
    assert found == {state: [] for state in found}
