"""The page in a browser: loading, no hits, an empty library, and errors."""

import json

import pytest

from otomatch.web.access import Access
from tests.support.browser import Held, Visits, eventually, keep, names, settled, until
from tests.support.page_library import served

SEARCH = "**/api/search?*"


def answer(status=200, headers=None, /, **body):
    """Return the arguments of a response in place of the server's."""
    return {
        "status": status,
        "headers": headers or {},
        "body": json.dumps(body),
        "content_type": "application/json",
    }


def failing(status, detail, **headers):
    """Return a function that makes the searches of a page fail."""
    return lambda page: page.route(
        SEARCH, lambda route: route.fulfill(**answer(status, headers, detail=detail))
    )


def test_the_first_search_shows_where_results_will_be(visits):
    held = Held()
    page = visits.open(before=lambda page: page.route(SEARCH, held))
    page.locator("#q").fill("bell")
    page.locator(".hit.skeleton").first.wait_for()
    assert page.locator("#hits").get_attribute("aria-busy") == "true"
    keep(page, "loading")
    held.release()
    settled(page)
    assert page.locator(".skeleton").count() == 0
    shown = names(page)
    page.locator("#q").fill("bells")
    until(page, "document.querySelector('#hits[aria-busy]')")
    eventually(page, lambda: held.routes)
    assert names(page) == shown  # what was found stays until there is something new
    held.release()
    settled(page)


def test_nothing_left_by_the_filters_says_so_and_clears_them(visits):
    page = visits.open("/?q=bell&min=500")
    page.get_by_text("No matching sounds").wait_for()
    assert page.locator("#count").text_content().startswith("0 of ")
    keep(page, "no-hit")
    page.get_by_role("button", name="Clear filters").click()
    settled(page)
    assert page.url.endswith("/?q=bell")


@pytest.mark.parametrize(
    ("relevance", "said"), [(0.9, "best first"), (0.1, "none is a good match")]
)
def test_it_is_said_when_the_nearest_is_not_near(visits, relevance, said):
    def weaken(page):
        def handle(route):
            body = route.fetch().json()
            for hit in body["hits"]:
                hit["relevance"] = relevance
            route.fulfill(body=json.dumps(body), content_type="application/json")

        page.route(SEARCH, handle)

    page = visits.open("/?q=bell", before=weaken)
    settled(page)
    assert page.locator("#count").text_content().endswith(said)


def test_an_empty_library_says_how_to_fill_it(visits):
    def empty(page):
        health = {
            "status": "ok", "version": "0", "library": "new one", "sounds": 0, "windows": 0,
            "seconds": 0, "model": "m",
        }  # fmt: skip
        page.route("**/api/health", lambda route: route.fulfill(**answer(**health)))
        body = {"state": "empty", "points": [], "clusters": []}
        page.route("**/api/map", lambda route: route.fulfill(**answer(**body)))

    page = visits.open(before=empty)
    page.get_by_text("This library is empty").wait_for()
    command = page.locator("#notice code").text_content()
    assert command == "otomatch index FOLDER --library 'new one'"
    assert page.locator("#intro").is_hidden()
    keep(page, "empty-library")
    page.unroute("**/api/health")
    page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    page.locator("#intro").wait_for()  # filled meanwhile
    assert page.get_by_role("alert").text_content() == ""


def test_a_busy_server_is_asked_again_after_the_seconds_it_names(visits):
    visits.may_fail = True
    asked = []

    def busy(page):
        def handle(route):
            asked.append(page.evaluate("() => performance.now()"))
            busy = answer(503, {"Retry-After": "1"}, detail="the queue is full")
            return route.fulfill(**busy) if len(asked) < 3 else route.continue_()

        page.route(SEARCH, handle)

    page = visits.open("/?q=bell", before=busy)
    page.get_by_text("The server is busy").wait_for()
    assert "Trying again in 1 s" in page.get_by_role("alert").text_content()
    keep(page, "busy")
    settled(page)
    assert page.get_by_role("alert").text_content() == ""
    assert len(asked) == 3
    assert min(asked[1] - asked[0], asked[2] - asked[1]) > 950


def test_a_server_that_is_gone_is_noticed_and_found_again(visits):
    visits.may_fail = True
    page = visits.open("/?q=bell", before=lambda page: page.clock.install())
    settled(page)
    shown = names(page)
    page.route(SEARCH, lambda route: route.abort("connectionrefused"))
    page.locator("#q").fill("rain")
    page.get_by_text("The server is not responding").wait_for()
    assert names(page) == shown
    keep(page, "server-gone")
    page.unroute(SEARCH)
    page.clock.fast_forward(3000)
    until(page, "document.querySelector('#notice').textContent === ''")  # by itself
    settled(page)
    assert page.title() == "rain – otomatch"


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (400, "Invalid search"),
        (401, "Token required"),
        (404, "This sound is no longer in the library"),
        (500, "Server error"),
    ],
)
def test_an_error_shows_the_servers_own_words(visits, status, title):
    visits.may_fail = True
    page = visits.open("/?q=bell", before=failing(status, "<b>what was found</b>, and the remedy"))
    notice = page.get_by_role("alert")
    notice.get_by_text(title).wait_for()
    assert "<b>what was found</b>, and the remedy" in notice.text_content()
    assert page.locator(".hit").count() == 0
    assert notice.get_by_role("button").count() == (0 if status == 401 else 1)
    keep(page, f"error-{status}")


def test_a_server_with_a_token_is_used_after_its_address_was_opened_once(chromium, page_library):
    token = "a secret of the tests".replace(" ", "-")
    with served(page_library, Access(token=token)) as address:
        visits = Visits(chromium, address)
        page = visits.open(f"/?token={token}")
        assert token not in page.url
        page.locator("#q").fill("bell")
        settled(page)
        page.locator(".hit .play").first.click()
        until(page, "document.querySelector('#audio').currentTime > 0.02")
        until(page, "document.images[0].naturalWidth > 0")
        visits.may_fail = True
        page.context.clear_cookies()
        page.locator("#q").fill("rain")
        page.get_by_text("Token required").wait_for()
        visits.close()


def test_trying_again_asks_again(visits):
    visits.may_fail = True
    page = visits.open("/?q=bell", before=failing(500, "failed"))
    again = page.get_by_role("button", name="Try again")
    again.wait_for()
    page.unroute(SEARCH)
    again.click()
    settled(page)
    assert page.get_by_role("alert").text_content() == ""


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (408, "This sound cannot be used"),
        (413, "This sound is too large"),
        (415, "This sound cannot be used"),
        (422, "This sound cannot be used"),
    ],
)
def test_a_refused_sound_can_be_taken_away(visits, status, title):
    visits.may_fail = True

    def refuse(page):
        refusal = answer(status, detail="at most 60 s, got 75 s")
        page.route("**/api/search", lambda route: route.fulfill(**refusal))

    page = visits.open("/?q=bell", before=refuse)
    settled(page)
    page.locator("#file").set_input_files(
        {"name": "long.wav", "mimeType": "audio/wav", "buffer": b"RIFF"}
    )
    page.get_by_text(title).wait_for()
    assert "at most 60 s, got 75 s" in page.get_by_role("alert").text_content()
    page.locator(".notice").get_by_role("button", name="Remove sound").click()
    settled(page)
    assert page.locator("#chips .chip").count() == 0


@pytest.mark.parametrize(
    ("wrong", "said", "remedy"),
    [
        ("min=-3", "The minimum length must be 0 seconds or more.", "Clear lengths"),
        ("max=-1", "The maximum length must be 0 seconds or more.", "Clear lengths"),
        ("min=5&max=2", "The minimum length must not exceed the maximum.", "Clear lengths"),
        ("not=" + "no " * 400, "The exclusion can have at most 1000", "Clear the exclusion"),
    ],
)
def test_what_cannot_be_asked_is_said_in_the_pages_own_words(visits, wrong, said, remedy):
    asked = []

    def watch(page):
        page.on("request", lambda request: asked.append(request.url))

    page = visits.open(f"/?q=bell&{wrong}", before=watch)
    page.get_by_text(said).wait_for()
    assert not [url for url in asked if "/api/search" in url]
    assert page.locator("#filters [aria-invalid=true]").count() == wrong.count("=")
    page.get_by_role("button", name=remedy).click()
    settled(page)
    assert page.url.endswith("/?q=bell")
    assert page.locator("[aria-invalid=true]").count() == 0
    assert page.get_by_role("alert").text_content() == ""


def test_a_description_that_is_too_long_or_blank_asks_nothing(visits):
    page = visits.open(f"/?q={'abc' * 400}")
    page.get_by_text("The description can have at most 1000 characters; it has 1200.").wait_for()
    page.get_by_role("button", name="Clear the description").click()
    page.locator("#intro").wait_for()
    page.goto("/?q=%20")
    page.locator("#intro").wait_for()


def test_lengths_that_cross_are_two_chips_and_a_hint_while_they_are_typed(visits):
    page = visits.open("/?q=bell")
    settled(page)
    page.locator("#min").fill("5")
    page.locator("#max").fill("2")
    page.get_by_text("The minimum length must not exceed the maximum.").wait_for()
    chips = page.locator("#active .chip")
    assert [text.strip() for text in chips.all_text_contents()] == ["at least 5 s", "at most 2 s"]
    keep(page, "crossed-lengths")
    page.locator("#max").fill("9")
    settled(page)
    assert chips.all_text_contents() == ["5–9 s long"]
    assert page.get_by_role("alert").text_content() == ""


@pytest.mark.parametrize(
    ("like", "title"),
    [
        ("0" * 16, "This sound is no longer in the library"),
        ("no such sound " * 10, "The address refers to a sound that does not exist."),
    ],
)
def test_a_sound_that_the_library_no_longer_has_can_be_taken_away(visits, like, title):
    visits.may_fail = True
    page = visits.open(f"/?like={like}&name=gone.wav&min=2")
    page.get_by_text(title).wait_for()
    page.locator(".notice").get_by_role("button", name="Remove sound").click()
    page.locator("#intro").wait_for()
    assert page.url.endswith("/?min=2")
    assert page.locator("#chips .chip").count() == 0
    assert page.get_by_role("alert").text_content() == ""
    assert page.evaluate("() => document.activeElement.id") == "q"
