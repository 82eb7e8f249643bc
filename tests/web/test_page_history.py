"""The page in a browser: the Enter key, the browser's history, and the search field's text."""

from tests.support.browser import search, settled, until
from tests.support.sounds import hiss, write_audio

LIKE = "#hits .hit:first-child .tool"


def titled(page, text):
    until(page, "document.title === it", f"{text} – otomatch")


def write_over(page, text):
    page.locator("#q").select_text()
    page.locator("#q").press_sequentially(text, delay=15)


def test_enter_makes_a_search_an_entry_of_the_history(visits):
    page = visits.open()
    for text in ("rain", "dog"):
        write_over(page, text)
        until(page, "location.search === it", f"?q={text}")  # by itself, after a pause
        page.keyboard.press("Enter")
        titled(page, text)
    page.go_back()
    titled(page, "rain")
    assert page.locator("#q").input_value() == "rain"


def test_enter_searches_without_the_pause_of_typing(visits):
    page = visits.open(before=lambda page: page.clock.install())
    page.clock.pause_at("2100-01-01")
    page.locator("#q").fill("rain")
    assert page.evaluate("location.search") == ""
    page.keyboard.press("Enter")
    assert page.evaluate("location.search") == "?q=rain"


def test_the_button_that_enter_presses_is_neither_seen_nor_focused(visits):
    page = visits.open()
    page.locator("#q").press("Shift+Tab")
    assert page.evaluate("document.activeElement.id") == "help-open"
    assert page.get_by_role("button", name="Search", exact=True).count() == 0


def test_after_back_the_field_says_what_the_results_are_of(visits):
    page = visits.open()
    search(page, "dog")
    page.locator(LIKE).first.click()
    page.wait_for_url("**like=**")
    settled(page)
    like = page.url
    write_over(page, "rain")
    titled(page, "rain")
    page.go_back()
    page.wait_for_url(like)
    until(page, "document.querySelector('#q').value === ''")
    assert page.locator("#chips .chip").count() == 1


def test_the_field_offers_words_beside_a_sent_sound_and_in_place_of_the_librarys(visits, tmp_path):
    page = visits.open("/?q=rain")
    settled(page)
    page.locator(LIKE).first.click()
    page.wait_for_url("**like=**")
    assert page.locator("#q").get_attribute("placeholder") == "Describe a sound instead"
    page.locator("#file").set_input_files(write_audio(tmp_path / "my.wav", hiss(1.0), 16_000))
    until(page, "document.querySelector('#q').placeholder === 'Add a description'")
