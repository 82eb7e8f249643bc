"""The page in a browser: search by a description, and the list of results."""

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.browser import Held, drawn, eventually, keep, names, search, settled, until
from tests.support.page_library import ODD_NAMES


def asked(page):
    return {key: values[0] for key, values in parse_qs(urlsplit(page.url).query).items()}


def test_typing_gives_results_without_pressing_enter(visits):
    page = visits.open()
    assert page.locator("#intro").is_visible()
    search(page, "bell")
    assert len(names(page)) == 20
    assert page.locator("#count").text_content().startswith("20 of 21 sounds, ")
    assert asked(page) == {"q": "bell"}
    assert page.title() == "bell – otomatch"


def test_a_result_shows_the_file_its_span_and_its_relevance(visits):
    page = visits.open("/?q=rain")
    settled(page)
    answer = page.request.get("/api/search?q=rain&k=20").json()["hits"]
    assert names(page) == [hit["name"] for hit in answer]
    for i, hit in enumerate(answer[:5]):
        row = page.locator(".hit").nth(i)
        assert hit["folder"] in row.locator(".where").text_content()
        assert row.locator(".percent").text_content() == str(round(100 * hit["relevance"]))
        assert f"Relevance {round(100 * hit['relevance'])} out of 100" in row.text_content()
        assert row.locator(".named").is_visible() == hit["named"] == ("rain" in hit["path"])
        assert f"{hit['duration']:.1f} s" in row.locator(".when").text_content()
        box, mark = row.locator(".picture").bounding_box(), row.locator(".mark")
        if hit["end"] - hit["start"] < hit["duration"] - 0.05:
            left = (mark.bounding_box()["x"] - box["x"]) / box["width"]
            assert left == pytest.approx(hit["start"] / hit["duration"], abs=0.01)
        else:
            assert mark.is_hidden()
    until(page, "[...document.images].slice(0, 3).every((image) => image.naturalWidth)")


def test_a_picture_that_was_refused_is_asked_for_again(visits):
    visits.may_fail = True
    refused = []

    def busy(page):
        def handle(route):
            if refused:
                return route.continue_()
            refused.append(route.request.url)
            return route.fulfill(status=503, body="{}")

        page.route("**/spectrogram?*", handle)

    page = visits.open("/?q=bell", before=busy)
    settled(page)
    until(page, "[...document.images].some((image) => image.src.includes('&try=1'))")
    until(page, "[...document.images].slice(0, 4).every((image) => image.naturalWidth)")


def test_only_the_last_of_several_fast_queries_is_shown(visits):
    held, ended = Held(), []

    def slow(page):
        page.route("**/api/search?q=be&*", held)
        for event in ("requestfinished", "requestfailed"):
            page.on(event, lambda request: ended.append(parse_qs(urlsplit(request.url).query)))

    page = visits.open(before=slow)
    page.locator("#q").press_sequentially("be", delay=5)
    eventually(page, lambda: held.routes)
    page.locator("#q").press_sequentially("ll", delay=5)
    until(page, "document.title.startsWith('bell')")
    settled(page)
    held.release()
    eventually(page, lambda: ["be"] in [query.get("q") for query in ended])
    drawn(page)
    assert asked(page) == {"q": "bell"}
    assert page.title() == "bell – otomatch"


def test_reload_and_back_keep_the_search(visits):
    page = visits.open()
    search(page, "bell")
    page.locator("#not").fill("rain")
    page.locator("#not").press("Enter")
    page.wait_for_url("**not=rain**")
    settled(page)
    page.reload()
    settled(page)
    assert page.locator("#q").input_value() == "bell"
    assert page.locator("#not").input_value() == "rain"
    page.go_back()
    until(page, "document.querySelector('#not').value === ''")
    assert asked(page) == {"q": "bell"}
    page.go_back()
    until(page, "document.querySelector('#q').value === ''")
    assert page.locator("#intro").is_visible()


def test_filters_and_the_negative_term_reach_the_server_and_can_be_taken_away(visits):
    page = visits.open("/?q=bell")
    settled(page)
    asked_for = []
    page.on("request", lambda request: asked_for.append(request.url))
    folder = page.locator("#folder option", has_text="rain").get_attribute("value")
    page.locator("#not").fill("deep hum")
    page.locator("#folder").select_option(folder)
    page.locator("#min").fill("5")
    page.locator("#max").fill("8.5")
    page.wait_for_url("**max=8.5**")
    settled(page)
    last = [url for url in asked_for if "/api/search" in url][-1]
    sent = {key: values[0] for key, values in parse_qs(urlsplit(last).query).items()}
    assert sent == {
        "q": "bell", "not": "deep hum", "folder": folder, "min_duration": "5",
        "max_duration": "8.5", "k": "20",
    }  # fmt: skip
    assert sorted(names(page)) == [f"rain {i}.wav" for i in (1, 2, 3, 4)]
    chips = page.locator("#active .chip")
    assert [text.strip() for text in chips.all_text_contents()][2] == "5–8.5 s long"
    keep(page, "filters")
    for left in (2, 1, 0):
        chips.first.get_by_role("button").click()
        until(page, f"document.querySelectorAll('#active .chip').length === {left}")
    settled(page)
    assert asked(page) == {"q": "bell"}
    assert len(names(page)) == 20


def test_show_more_asks_for_more_and_keeps_what_is_there(visits):
    page = visits.open("/?q=bell")
    settled(page)
    first = names(page)
    page.get_by_role("button", name="Show more").press("Enter")
    until(page, "document.querySelectorAll('.hit').length === 21")
    until(page, "document.activeElement === document.querySelectorAll('.hit')[20]")
    assert names(page)[:20] == first
    assert page.get_by_role("button", name="Show more").is_hidden()
    assert asked(page) == {"q": "bell", "k": "40"}


def test_more_like_this_searches_by_the_sound(visits):
    page = visits.open("/?q=rain")
    settled(page)
    name = names(page)[0]
    page.locator(".hit").first.get_by_role("button", name=re.compile("More like this")).click()
    page.wait_for_url("**like=**")
    until(page, "document.querySelector('#q').value === ''")
    settled(page)
    assert name not in names(page)
    assert page.locator("#chips .chip").text_content().strip() == name
    keep(page, "more-like-this")
    page.reload()
    settled(page)
    assert page.locator("#chips .chip").text_content().strip() == name
    search(page, "bell")  # words take the place of the sound
    until(page, "document.querySelectorAll('#chips .chip').length === 0")
    assert asked(page) == {"q": "bell"}


def test_the_path_is_copied_with_the_permission_for_the_clipboard(visits):
    page = visits.open("/?q=rain", permissions=["clipboard-read", "clipboard-write"])
    settled(page)
    page.locator(".hit").first.get_by_role("button", name=re.compile("Copy path")).click()
    path = page.request.get("/api/search?q=rain").json()["hits"][0]["path"]
    page.get_by_text(f"Copied {path}").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == path


def test_the_path_can_be_copied_by_hand_where_the_browser_refuses(visits):
    def refuse(page):
        page.add_init_script(
            "navigator.clipboard.writeText = () => Promise.reject(new Error());"
            "document.execCommand = () => false;"
        )

    page = visits.open("/?q=rain", before=refuse)
    settled(page)
    page.locator(".hit").first.get_by_role("button", name=re.compile("Copy path")).click()
    path = page.request.get("/api/search?q=rain").json()["hits"][0]["path"]
    assert page.locator("#copy-text").input_value() == path
    assert page.evaluate("getSelection().toString()") == path
    page.get_by_role("button", name="Close").click()
    assert page.locator("#copy-dialog").is_hidden()


def test_odd_file_names_are_shown_as_they_are_and_never_run(visits):
    page = visits.open("/?q=bell&k=40")
    settled(page)
    shown = names(page)
    assert set(ODD_NAMES) <= set(shown)
    assert page.locator(".hit img[src='x'], .hit b, .tip b").count() == 0
    for name in ODD_NAMES:
        row = page.locator(".hit").nth(shown.index(name))
        row.locator(".play").click()
        until(page, "document.querySelector('#now-name').textContent === it", name)
        until(page, "document.querySelector('#audio').currentTime > 0.05")
    keep(page, "odd-names")
    row = page.locator(".hit").nth(shown.index(ODD_NAMES[0]))
    row.get_by_role("button", name=re.compile("More like this")).click()
    until(page, "document.querySelector('#chips').textContent.includes('onerror')")
    settled(page)
    page.reload()
    settled(page)
    assert ODD_NAMES[0] in page.title()
    assert page.locator("#chips img").count() == 0


def test_markup_in_labels_captions_tags_and_messages_is_text(visits):
    markup = "<img src=x onerror=document.body.remove()><script>document.body.remove()</script>"

    def poison(page):
        def handle(route):
            body = route.fetch().json()
            for hit in body["hits"]:
                hit.update(label=markup, caption=markup, tags=markup, folder=markup)
            route.fulfill(body=json.dumps(body), content_type="application/json")

        page.route("**/api/search?*", handle)
        clusters = [{"id": 0, "label": markup, "size": 1}]
        points = [{"id": "0" * 16, "name": markup, "x": 0.5, "y": 0.5, "cluster": 0}]
        body = json.dumps({"state": "ready", "points": points, "clusters": clusters})
        page.route("**/api/map", lambda r: r.fulfill(body=body, content_type="application/json"))

    page = visits.open(before=poison)
    assert page.locator("#intro button").text_content() == markup
    search(page, markup)
    assert page.locator(".said").first.text_content() == markup
    stage = page.locator("#stage").bounding_box()
    page.mouse.move(stage["x"] + 28, stage["y"] + 28)
    assert page.locator("#tip strong").text_content() == markup
    assert page.locator("img[src='x'], main script").count() == 0


def test_the_script_never_writes_html():
    from importlib.resources import files

    static = files("otomatch") / "web" / "static"
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|Function\("
        r"|setHTML|srcdoc|createContextualFragment"
    )
    for folder in ("js", "js/map"):
        for file in (static / folder).iterdir():
            if file.name.endswith(".js"):
                assert not forbidden.search(file.read_text(encoding="utf-8")), file.name
    page = (static / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|\son\w+=|<script>|<style", page)
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)
