"""The page in a browser: playback."""

import re

from tests.support.browser import keep, settled, until


def clock(page):
    return page.evaluate("() => document.querySelector('#audio').currentTime")


def late_hit(page, query="rain"):
    """Return the rank and the hit of a sound whose best window is not at its start."""
    hits = page.request.get(f"/api/search?q={query}&k=20").json()["hits"]
    return next((i, hit) for i, hit in enumerate(hits) if hit["start"] >= 1)


def test_play_starts_at_the_matching_second(visits):
    page = visits.open("/?q=rain")
    settled(page)
    place, hit = late_hit(page)
    row = page.locator(".hit").nth(place)
    row.get_by_role("button", name=f"Play {hit['name']} from {hit['start']:.1f} seconds").click()
    until(page, "!document.querySelector('#audio').paused")
    until(page, "document.querySelector('#audio').currentTime > 0")
    assert hit["start"] <= clock(page) < hit["start"] + 1
    assert page.locator("#now-name").text_content() == hit["name"]
    before = row.locator(".playhead").bounding_box()["x"]
    until(page, "document.querySelector('#audio').currentTime > it", hit["start"] + 0.3)
    assert row.locator(".playhead").bounding_box()["x"] > before
    keep(page, "playing")
    row.get_by_role("button", name=f"Pause {hit['name']}").click()
    until(page, "document.querySelector('#audio').paused")


def test_one_sound_plays_at_a_time(visits):
    page = visits.open("/?q=rain")
    settled(page)
    for place in (0, 1):
        page.locator(".hit .play").nth(place).click()
        until(page, "document.querySelector('#audio').currentTime > 0.01")
    assert page.locator("audio").count() == 1
    assert page.locator(".hit.current").count() == 1
    assert page.get_by_role("button", name=re.compile("^Pause ")).count() == 1


def test_a_click_on_the_picture_plays_from_there(visits):
    page = visits.open("/?q=rain")
    settled(page)
    hit = page.request.get("/api/search?q=rain").json()["hits"][0]
    picture = page.locator(".hit .picture").first
    width = picture.bounding_box()["width"]
    picture.click(position={"x": 0.5 * width, "y": 20})
    until(page, "!document.querySelector('#audio').paused")
    until(page, "document.querySelector('#audio').currentTime > it", 0.49 * hit["duration"])
    assert clock(page) < 0.5 * hit["duration"] + 1


def test_the_bar_shows_and_sets_the_position(visits):
    page = visits.open("/?q=rain")
    settled(page)
    hit = page.request.get("/api/search?q=rain").json()["hits"][0]
    page.locator(".hit .play").first.click()
    until(page, "!document.querySelector('#audio').paused")
    page.locator("#toggle").click()
    page.get_by_label("Playback position").fill("0.5")
    until(page, "Math.abs(document.querySelector('#audio').currentTime - 0.5) < 0.01")
    assert page.locator("#clock").text_content() == "0:00.5"
    assert page.locator("#length").text_content() == f"0:{hit['duration']:04.1f}"
    said = page.locator("#scrub").get_attribute("aria-valuetext")
    assert said == f"0:00.5 of 0:{hit['duration']:04.1f}"


def test_loop_repeats_the_matching_span(visits):
    page = visits.open("/?q=rain")
    settled(page)
    place, hit = late_hit(page)
    page.locator(".hit .play").nth(place).click()
    until(page, "document.querySelector('#audio').currentTime >= it", hit["start"] - 0.01)
    page.get_by_role("button", name="Loop the matching part").click()
    page.get_by_label("Playback position").fill(str(hit["end"] - 0.2))
    until(page, "document.querySelector('#audio').currentTime < it", hit["end"] - 0.3)
    assert clock(page) >= hit["start"] - 0.01
    assert not page.evaluate("() => document.querySelector('#audio').paused")
    page.reload()
    settled(page)
    page.locator(".hit .play").first.click()  # the choice is remembered
    assert page.locator("#loop").get_attribute("aria-pressed") == "true"


def test_a_sound_whose_file_is_gone_says_so(visits):
    visits.may_fail = True

    def gone(page):
        body = '{"detail": "rain 1.wav no longer exists; index its folder again"}'
        page.route("**/audio", lambda route: route.fulfill(status=404, body=body))

    page = visits.open("/?q=rain", before=gone)
    settled(page)
    page.locator(".hit .play").first.click()
    page.locator("#toast.bad", has_text="no longer exists; index its folder again").wait_for()


def test_an_overloaded_server_is_asked_for_the_sound_again(visits):
    visits.may_fail = True
    refused = []

    def busy(page):
        def handle(route):
            if len(refused) < 2:  # the player, then the question why
                refused.append(route.request.url)
                route.fulfill(status=503, headers={"Retry-After": "1"}, body='{"detail": "busy"}')
            else:
                route.continue_()

        page.route("**/audio", handle)

    page = visits.open("/?q=rain", before=busy)
    settled(page)
    page.locator(".hit .play").first.click()
    until(page, "document.querySelector('#audio').currentTime > 0.05")
    assert len(refused) == 2
