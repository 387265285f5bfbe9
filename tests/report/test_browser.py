"""The page in a headless Chromium: no errors, no requests, and its controls work."""

import json
import os
import shutil

import pytest

import lowres
from lowres.recipe import Recipe
from lowres.text import MISSING
from made_runs import fail_run, write_study
from waiting import DEADLINE_S

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed"),
]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def page_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("studies") / "study"
    write_study(path, sizes=(8, 16), filters=("box", "nearest"), widths=(1.0,))
    name = "<img src=x onerror=document.title='taken'>"
    fail_run(path / name, Recipe(lr=0.7), "<script>document.title='taken'</script>")
    return lowres.write_report(path, ("html",)).files[0]


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=FLAGS, timeout=1000 * DEADLINE_S
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser, page_path):
    """The page, wide and light; an error during a test fails the test."""
    yield from opened(browser, page_path, 1280, "light")


def opened(browser, page_path, width, scheme):
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True
    )
    context.set_default_timeout(1000 * DEADLINE_S)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.on("request", lambda request: wrong.append(request.url))
    page.goto(page_path.as_uri())
    assert wrong == [page_path.as_uri()], "the page itself, and nothing else"
    yield page
    assert [each for each in wrong[1:] if not each.startswith("blob:")] == []
    context.close()


def column(page, number):
    return page.locator(f"#run-table tbody tr:visible td:nth-child({number})").all_inner_texts()


def test_text_of_runs_is_not_run(page):
    assert page.title() == "lowres study: study"


def test_runs_are_sorted_by_number_missing_ones_last(page):
    headings = page.locator("#run-table th").all_inner_texts()
    place = headings.index("top-1 error, %") + 1
    page.locator(f"#run-table th:nth-child({place}) button").click()
    errors = column(page, place)
    known = [float(text) for text in errors[:-1]]
    assert known == sorted(known)
    assert errors[-1] == MISSING
    page.locator(f"#run-table th:nth-child({place}) button").press("Enter")
    again = column(page, place)
    assert again[:-1] == errors[-2::-1]
    assert again[-1] == errors[-1]


def test_runs_are_filtered_by_words_and_status(page):
    page.locator("#run-words").fill("16-box lr0.08")
    assert len(column(page, 1)) == 2
    assert page.locator("#run-count").inner_text() == "2 of 49 runs match"
    page.locator("#run-words").fill("")
    page.locator("#run-status").select_option("failed")
    assert column(page, 2) == ["failed"]


def test_a_series_is_hidden_by_keyboard_in_all_charts_of_its_section(page):
    section = page.locator("#cost")
    shown = section.locator('g[data-series="8-box"]:visible')
    assert shown.count() == 3
    button = section.locator('button[data-series="8-box"]')
    button.focus()
    page.keyboard.press("Space")
    assert shown.count() == 0
    assert button.get_attribute("aria-pressed") == "false"
    assert page.locator('#learning-rate g[data-series="8-box"]:visible').count() == 1
    page.keyboard.press("Space")
    assert shown.count() == 3


def test_values_are_shown_by_pointer_and_by_keyboard(page):
    chart, tip = page.locator("#learning-rate figure > svg").first, page.locator("#tip")
    chart.scroll_into_view_if_needed()
    # The event of the scroll, which hides the text, comes with the next frame.
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    chart.locator("path.full").nth(2).hover()
    assert "lr 0.032: mean" in tip.inner_text()
    chart.focus()
    first = tip.inner_text()
    page.keyboard.press("ArrowRight")
    assert tip.is_visible()
    assert tip.inner_text() != first
    page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_cost_is_shown_in_seconds_or_operations(page):
    titles = page.locator("#cost figure:visible text.title")
    assert "seconds" in titles.first.text_content()
    page.get_by_label("operations (FLOP)").check()
    assert "TFLOP" in titles.first.text_content()
    assert page.locator("#cost figure:visible").count() == 3


def test_the_files_inside_can_be_saved(page, tmp_path):
    for name in ("runs.csv", "report.json"):
        with page.expect_download() as download:
            page.locator(f'a[data-file="{name}"]').click()
        download.value.save_as(tmp_path / name)
    assert (tmp_path / "runs.csv").read_text().count("\n") == 50
    assert len(json.loads((tmp_path / "report.json").read_text())["runs"]) == 49


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_window(browser, page_path, width, scheme):
    for page in opened(browser, page_path, width, scheme):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light")
        smallest = page.evaluate(
            "Math.min(...[...document.querySelectorAll('figure:not([hidden]) > svg text')]"
            ".map(text => text.getBoundingClientRect().height))"
        )
        assert smallest > 8
        if folder := os.environ.get("LOWRES_SCREENSHOTS"):
            page.screenshot(path=f"{folder}/report-{width}-{scheme}.png", full_page=True)


def test_print_is_light_and_unfolds_tables(browser, page_path):
    for page in opened(browser, page_path, 1280, "dark"):
        page.emulate_media(media="print", color_scheme="dark")
        style = "getComputedStyle(document.querySelector('{}')).{}"
        assert page.evaluate(style.format("body", "backgroundColor")) == "rgb(255, 255, 255)"
        assert page.evaluate(style.format(".tall", "maxHeight")) == "none"
        assert len(page.pdf()) > 10_000


def test_a_wide_table_has_a_hint_on_a_phone(browser, page_path):
    for page in opened(browser, page_path, 390, "dark"):
        hint = "getComputedStyle(document.querySelector('{}'), '::before').content"
        assert "scroll sideways" in page.evaluate(hint.format("#learning-rate .scroll"))
    for page in opened(browser, page_path, 1280, "light"):
        assert page.evaluate(hint.format("#learning-rate .scroll")) == "none"


def test_runs_beyond_those_drawn_are_searched_sorted_and_drawn_on_demand(
    browser, tmp_path, monkeypatch
):
    monkeypatch.setattr("lowres.report.page.MOST_DRAWN", 10)
    write_study(tmp_path, sizes=(8, 16), widths=(1.0,))
    path = lowres.write_report(tmp_path, ("html",)).files[0]
    for page in opened(browser, path, 1280, "light"):
        count, more = page.locator("#run-count"), page.locator("#run-more")
        page.wait_for_function("document.getElementById('run-count').textContent.includes('24')")
        assert count.inner_text() == "24 of 24 runs match, 10 of them drawn"
        best = column(page, 1)
        more.click()
        assert column(page, 1)[:10] == best
        assert len(column(page, 1)) == 20
        page.locator("#run-table th button").first.click()
        names = column(page, 1)
        assert names == sorted(names)
        assert len(names) == 10
        page.locator("#run-words").fill("8-box lr0.005")
        assert count.inner_text() == "2 of 24 runs match"
        assert not more.is_visible()
