"""The page in a browser: search by a dropped, chosen or recorded sound."""

import base64
import re

import pytest

from tests.support.browser import keep, names, settled, until
from tests.support.page_library import ODD_NAMES, RATE
from tests.support.sounds import hiss, write_audio

DROP = """([name, data]) => {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name));
    for (const type of ["dragenter", "dragover", "drop"]) {
        const event = new DragEvent(type, { bubbles: true, cancelable: true,
                                            dataTransfer: transfer });
        document.body.dispatchEvent(event);
        if (type === "dragenter") window.wasOffered = !document.querySelector("#drop").hidden;
    }
}"""


@pytest.fixture
def sound(tmp_path):
    return write_audio(tmp_path / "my rain.wav", hiss(2.0, rate=RATE), RATE)


def test_a_chosen_file_is_the_query(visits, sound):
    page = visits.open()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Search with a sound file").click()
    chooser.value.set_files(sound)
    settled(page)
    assert page.locator("#chips").text_content().strip() == "my rain.wav"
    assert page.title() == "my rain.wav – otomatch"
    keep(page, "query-by-sound")


def test_a_dropped_file_and_words_are_searched_together(visits, sound):
    page = visits.open()
    data = base64.b64encode(sound.read_bytes()).decode()
    page.evaluate(DROP, [sound.name, data])
    assert page.evaluate("() => window.wasOffered")
    assert page.locator("#drop").is_hidden()
    settled(page)
    page.locator("#not").fill("bell")
    page.locator("#not").press("Enter")
    until(page, "location.search === '?not=bell'")
    settled(page)
    with page.expect_response("**/api/search") as answer:
        page.locator("#q").fill("rain")
    assert answer.value.request.method == "POST"
    assert answer.value.json()["query"] == {"text": "rain", "like": sound.name, "without": "bell"}
    until(page, "document.title === 'rain + my rain.wav – otomatch'")


def test_a_sound_is_taken_away_and_brought_back_by_the_browsers_button(visits, sound):
    page = visits.open("/?q=bell")
    settled(page)
    page.locator("#file").set_input_files(sound)
    until(page, "document.querySelectorAll('#chips .chip').length === 1")
    settled(page)
    page.get_by_role("button", name="Remove my rain.wav").click()
    until(page, "document.title === 'bell – otomatch'")
    assert page.locator("#chips .chip").count() == 0
    assert page.evaluate("() => document.activeElement.id") == "q"
    page.go_back()
    until(page, "document.title === 'bell + my rain.wav – otomatch'")
    page.reload()  # files cannot outlive the page, and it says so
    page.locator("#toast", has_text="no longer available").wait_for()
    settled(page)
    assert page.title() == "bell – otomatch"


def test_the_sound_that_is_searched_with_can_be_heard(visits, sound):
    page = visits.open()
    page.locator("#file").set_input_files(sound)
    settled(page)
    page.get_by_role("button", name="Play my rain.wav").click()
    until(page, "document.querySelector('#audio').currentTime > 0.05")
    assert page.locator("#now-name").text_content() == "my rain.wav"


def test_a_file_that_is_no_sound_gives_a_message_and_a_way_on(visits, tmp_path):
    visits.may_fail = True
    broken = tmp_path / "holiday.wav"
    broken.write_bytes(b"NOT A SOUND AT ALL" * 100)
    page = visits.open("/?q=bell")
    settled(page)
    page.locator("#file").set_input_files(broken)
    notice = page.get_by_role("alert")
    notice.get_by_text("This sound cannot be used").wait_for()
    assert "holiday.wav" in notice.text_content()
    assert page.locator(".hit").count() == 0
    keep(page, "broken-file")
    notice.get_by_role("button", name="Remove sound").click()
    settled(page)
    assert page.title() == "bell – otomatch"
    assert notice.text_content() == ""


def test_a_sound_with_an_odd_name_is_only_text(visits, tmp_path):
    sound = write_audio(tmp_path / ODD_NAMES[0], hiss(0.5, rate=RATE), RATE)
    page = visits.open()
    page.locator("#file").set_input_files(sound)
    settled(page)
    assert page.locator("#chips").text_content().strip() == ODD_NAMES[0]
    assert page.locator("#chips img").count() == 0


def test_a_recording_is_the_query(visits):
    page = visits.open(permissions=["microphone"])
    page.get_by_role("button", name="Search with a recording").click()
    stop = page.get_by_role("button", name="Stop and search")
    stop.wait_for()
    until(page, "Number.parseFloat(document.querySelector('#record').dataset.time) > 1")
    keep(page, "recording")
    stop.click()
    settled(page)
    assert re.fullmatch(r"recording [\d.]+\.webm", page.locator("#chips").text_content().strip())
    assert names(page)


def test_a_refused_microphone_is_explained(visits):
    page = visits.open()
    page.get_by_role("button", name="Search with a recording").click()
    page.locator("#toast.bad", has_text="Microphone access was denied").wait_for()
