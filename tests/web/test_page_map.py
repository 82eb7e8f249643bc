"""The page in a browser: the map of the library."""

import json
import random

import pytest

from tests.support.browser import drawn, keep, settled, until

SPREAD = [(0.1, 0.1), (0.5, 0.12), (0.9, 0.1), (0.1, 0.9), (0.5, 0.5), (0.9, 0.9)]
MARGIN = 28  # pixels that the map keeps free; the points' extent fills the rest


def giving(body):
    """Return a route handler that answers with a body."""
    text = json.dumps(body)
    return lambda route: route.fulfill(body=text, content_type="application/json")


def put(state, points=(), clusters=()):
    """Return a route handler that answers with a map."""
    return giving({"state": state, "points": list(points), "clusters": list(clusters)})


def spread_out(page):
    """Make the page show a map of six of the library's sounds, far apart."""
    hits = page.request.get("/api/search?q=rain&k=6").json()["hits"]
    points = [
        {"id": hit["id"], "name": hit["name"], "x": x, "y": y, "cluster": i % 2}
        for i, (hit, (x, y)) in enumerate(zip(hits, SPREAD, strict=True))
    ]
    clusters = [{"id": i, "label": f"kind {i}", "size": 3} for i in range(2)]
    page.route("**/api/map", put("ready", points, clusters))


def place(page, index):
    """Return the screen position of a point of `SPREAD`."""
    box = page.locator("#canvas").bounding_box()
    x, y = ((SPREAD[index][axis] - 0.1) / 0.8 for axis in (0, 1))
    return (
        box["x"] + MARGIN + x * (box["width"] - 2 * MARGIN),
        box["y"] + MARGIN + y * (box["height"] - 2 * MARGIN),
    )


def ready(page):
    until(page, "document.querySelector('#map-summary').textContent !== ''")
    drawn(page)


def current(page):
    return page.locator("#now-name").text_content()


def test_the_map_of_the_library_is_drawn(visits):
    page = visits.open()
    ready(page)
    points = page.request.get("/api/map").json()["points"]
    assert page.locator("#map-summary").text_content().startswith(f"{len(points)} sounds in ")
    inked = page.evaluate(
        """() => { const canvas = document.querySelector("#canvas");
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let count = 0; for (let i = 3; i < data.length; i += 4) count += data[i] > 0;
        return count; }"""
    )
    assert inked > 20 * len(points)


def test_a_start_offers_what_the_largest_groups_are_called_where_that_is_a_word(visits):
    labels = ["12", "of", "group 3", "rain", "ox, 7", "雨", "dog, bark", "bells"]
    labels += [f"more {i}" for i in range(5)]
    clusters = [{"id": i, "label": text, "size": 50 - i} for i, text in enumerate(labels)]
    points = [{"id": "0" * 16, "name": "a", "x": 0.5, "y": 0.5, "cluster": 0}]
    answer = put("ready", points, clusters[::-1])
    page = visits.open(before=lambda page: page.route("**/api/map", answer))
    page.locator("#intro button").first.wait_for()
    offered = page.locator("#intro button").all_text_contents()
    assert offered == ["rain", "雨", "dog, bark", "bells", "more 0", "more 1"]


def test_a_library_that_has_changed_is_shown_anew(visits):
    page = visits.open(before=lambda page: (page.clock.install(), spread_out(page)))
    ready(page)
    page.locator("#canvas").focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    health = page.request.get("/api/health").json()
    page.unroute("**/api/map")
    folders = page.request.get("/api/folders").json()
    folders["folders"].append({"path": "/new", "name": "new", "sounds": 2})
    page.route("**/api/folders", giving(folders))
    page.route("**/api/health", giving({**health, "sounds": 1234}))
    points = [{"id": "0" * 16, "name": "new", "x": 0.5, "y": 0.5, "cluster": 0}]
    page.route("**/api/map", put("ready", points, [{"id": 0, "label": "fresh", "size": 1}]))
    page.clock.run_for(61_000)
    until(page, "document.querySelector('#map-summary').textContent === '1 sound in 1 group'")
    until(page, "document.querySelector('#library').textContent.includes('1,234 sounds')")
    until(page, "document.querySelector('#folder').textContent.includes('new (2)')")
    assert page.locator("#intro button").all_text_contents() == ["fresh"]
    page.keyboard.press("Enter")  # the point under the keys is gone: nothing to play
    assert page.locator("#player").is_hidden()


def test_a_page_that_becomes_visible_asks_whether_the_library_has_changed(visits):
    page = visits.open()
    ready(page)
    maps = []
    page.on("request", lambda request: maps.append(request.url))
    with page.expect_response("**/api/health") as answer:
        page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    answer.value.finished()
    drawn(page)
    assert [url.rsplit("/", 1)[1] for url in maps] == ["health"]  # it has not


def test_a_click_on_a_point_plays_its_sound(visits):
    page = visits.open(before=spread_out)
    ready(page)
    page.mouse.click(*place(page, 4))
    until(page, "document.querySelector('#audio').currentTime > 0.02")
    sound = page.request.get("/api/search?q=rain&k=6").json()["hits"][4]
    assert current(page) == sound["name"]
    page.mouse.click(*place(page, 4))  # again: pause
    until(page, "document.querySelector('#audio').paused")
    x, y = place(page, 4)
    page.mouse.click(x + 60, y + 40)  # beside it: nothing
    assert current(page) == sound["name"]


def test_a_hit_on_the_map_starts_at_its_matching_second(visits):
    page = visits.open("/?q=rain", before=spread_out)
    ready(page)
    settled(page)
    hits = page.request.get("/api/search?q=rain&k=6").json()["hits"]
    index = next(i for i, hit in enumerate(hits) if hit["start"] >= 1)
    page.mouse.click(*place(page, index))
    until(page, "document.querySelector('#audio').currentTime > 0.02")
    now = page.evaluate("() => document.querySelector('#audio').currentTime")
    assert hits[index]["start"] <= now < hits[index]["start"] + 1


def test_a_point_under_the_pointer_is_named(visits):
    page = visits.open(before=spread_out)
    ready(page)
    sound = page.request.get("/api/search?q=rain&k=6").json()["hits"][1]
    page.mouse.move(*place(page, 1))
    assert page.locator("#tip strong").text_content() == sound["name"]
    assert page.locator("#tip span").text_content() == "kind 1"
    stage, tip = page.locator("#stage").bounding_box(), page.locator("#tip").bounding_box()
    assert stage["x"] <= tip["x"]
    assert tip["x"] + tip["width"] <= stage["x"] + stage["width"]
    keep(page, "map-hover")
    page.mouse.move(5, 5)
    assert page.locator("#tip").is_hidden()


def test_the_map_zooms_and_pans_and_comes_back(visits):
    page = visits.open(before=spread_out)
    ready(page)
    x, y = place(page, 4)
    page.mouse.move(x, y)
    page.evaluate(
        "() => document.querySelector('#canvas').addEventListener('wheel',"
        " () => { window.turned = true; })"
    )
    page.mouse.wheel(0, -800)
    until(page, "window.turned")
    drawn(page)
    page.mouse.move(x + 3, y)
    assert page.locator("#tip").is_visible()  # what is under the pointer stays there
    page.mouse.move(*place(page, 0))
    assert page.locator("#tip").is_hidden()  # moved out of sight
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 50, y + 30, steps=3)
    page.mouse.up()
    assert page.locator("#player").is_hidden()  # a drag is no click
    page.mouse.move(x + 51, y + 30)
    drawn(page)
    assert page.locator("#tip").is_visible()
    page.get_by_role("button", name="Show the whole map").click()
    drawn(page)
    page.mouse.move(*place(page, 0))
    assert page.locator("#tip").is_visible()


def test_arrow_keys_walk_over_the_map_and_enter_plays(visits):
    page = visits.open(before=spread_out)
    ready(page)
    hits = page.request.get("/api/search?q=rain&k=6").json()["hits"]
    live = page.locator("#map-live")
    page.locator("#canvas").focus()
    page.keyboard.press("ArrowRight")  # the middle first
    assert live.text_content() == f"{hits[4]['name']}, kind 0"
    page.keyboard.press("ArrowUp")
    assert live.text_content() == f"{hits[1]['name']}, kind 1"
    page.keyboard.press("ArrowLeft")
    assert live.text_content() == f"{hits[0]['name']}, kind 0"
    page.keyboard.press("ArrowUp")
    assert live.text_content() == "No more sounds in this direction"
    page.keyboard.press("ArrowDown")
    assert live.text_content() == f"{hits[3]['name']}, kind 1"
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#audio').currentTime > 0.02")
    assert current(page) == hits[3]["name"]
    assert live.text_content() == f"Playing {hits[3]['name']}, kind 1"
    page.keyboard.press("s")
    page.wait_for_url(f"**like={hits[3]['id']}**")


def test_hits_stand_out_from_the_others(visits):
    page = visits.open(before=spread_out)
    ready(page)

    def strength(index):
        x, y = place(page, index)
        return page.evaluate(
            """([x, y]) => { const canvas = document.querySelector("#canvas");
            const box = canvas.getBoundingClientRect();
            return canvas.getContext("2d").getImageData((x - box.left) * devicePixelRatio,
                (y - box.top) * devicePixelRatio, 1, 1).data[3]; }""",
            [x, y],
        )

    assert strength(0) == strength(5) == 255
    hits = page.request.get("/api/search?q=rain&k=6").json()["hits"]
    answer = page.request.get("/api/search?q=rain&k=6").json()
    answer["hits"] = hits[:1]
    page.route(
        "**/api/search?*",
        lambda r: r.fulfill(body=json.dumps(answer), content_type="application/json"),
    )
    page.locator("#q").fill("rain")
    settled(page)
    drawn(page)
    assert strength(0) == 255
    assert strength(5) < 100


def test_a_map_that_is_computed_is_waited_for(visits):
    def later(page):
        page.route("**/api/map", put("computing"), times=2)

    page = visits.open(before=later)
    page.locator("#map-state", has_text="Drawing the map").wait_for()
    keep(page, "map-computing")
    ready(page)
    assert page.locator("#map-state").is_hidden()
    assert page.locator("#canvas").is_visible()


@pytest.mark.parametrize(
    ("state", "text"), [("empty", "No sounds to show yet"), ("failed", "could not be drawn")]
)
def test_a_map_that_is_not_there_says_why(visits, state, text):
    page = visits.open(before=lambda page: page.route("**/api/map", put(state), times=1))
    page.locator("#map-state", has_text=text).wait_for()
    assert page.locator("#canvas").is_hidden()
    keep(page, f"map-{state}")
    if state == "failed":
        page.get_by_role("button", name="Try again").click()
        ready(page)


def test_many_moves_within_a_frame_are_drawn_once(visits):
    rng = random.Random(0)  # noqa: S311
    points = [
        {"id": f"{i:016x}", "name": f"{i}.wav", "x": rng.random(), "y": rng.random()}
        | {"cluster": i % 24}
        for i in range(5000)
    ]
    clusters = [{"id": i, "label": f"kind {i}", "size": 208} for i in range(24)]
    page = visits.open(before=lambda p: p.route("**/api/map", put("ready", points, clusters)))
    ready(page)
    keep(page, "map-5000")
    drawn = page.evaluate(
        """async () => {
            const canvas = document.querySelector("#canvas");
            const draw = canvas.getContext("2d");
            let drawn = 0;
            const put = draw.putImageData;
            draw.putImageData = (...all) => { drawn += 1; put.apply(draw, all); };
            const frame = () => new Promise((done) => requestAnimationFrame(done));
            await frame();
            for (let i = 0; i < 40; i += 1)
                canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -10 }));
            await frame(); await frame();
            const moved = drawn;
            await frame(); await frame(); await frame();
            return [moved, drawn]; }"""
    )
    assert drawn == [1, 1]  # and never while nothing changes
