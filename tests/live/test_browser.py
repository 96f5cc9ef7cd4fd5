"""The live page in a real browser, of a real collector and a real nginx."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from support.browser import CHROMEDRIVER, CHROMIUM, Browser
from support.viewing import NEWS_SECONDS, Viewing, opened
from support.wait import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (Path(CHROMIUM).exists() and Path(CHROMEDRIVER).exists()), reason="chromium and chromium-driver are needed"
    ),
]

# The cells of tables that have more lines than words.
BROKEN_WORDS = """
return [...document.querySelectorAll('thead th, td.figure')].filter((cell) => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  const lines = new Set([...range.getClientRects()].map((line) => line.top));
  return lines.size > cell.textContent.trim().split(/\\s+/).length;
}).map((cell) => cell.textContent);
"""


@pytest.fixture(scope="module")
def stage(browser: Browser) -> Iterator[Viewing]:
    with opened(browser) as made:
        made.ask(30)
        made.ask(10, "api.example")
        wait_until(lambda: "api.example</h3>" in made.collector.page("/"), NEWS_SECONDS, "the first figures")
        yield made


@pytest.mark.parametrize(
    ("width", "dark"), [(1200, False), (1200, True), (390, False), (390, True), (320, False)], ids=str
)
def test_no_serious_violation_no_complaint_and_nothing_sticks_out(stage: Viewing, width: int, dark: bool) -> None:
    stage.browser.look(width=width, dark=dark)
    stage.reopen()
    assert stage.browser.run("return document.documentElement.scrollWidth") == width
    hidden = "return [...document.querySelectorAll('.wide')].map((one) => one.scrollWidth - one.clientWidth)"
    assert stage.browser.run(hidden) == [0, 0], "no table has to be scrolled sideways"
    assert stage.browser.run(BROKEN_WORDS) == [], "no figure or title is broken within a word"
    assert stage.browser.violations() == []
    assert stage.browser.complaints() == []


def test_the_runbook_opens_at_the_section_of_an_alert(stage: Viewing) -> None:
    stage.browser.look(width=390)
    stage.browser.driver.get(f"{stage.collector.url}/-/runbook#restymetricssocketdown")
    assert stage.browser.run("return document.querySelector(':target').textContent") == "RestyMetricsSocketDown"
    assert stage.browser.run("return document.documentElement.scrollWidth") == 390
    assert stage.browser.violations() == []
    assert stage.browser.complaints() == []


def test_it_is_whole_without_script(stage: Viewing) -> None:
    stage.browser.look(script=False)
    stage.reopen()
    driver = stage.browser.driver
    assert "shop.example" in [one.text for one in driver.find_elements(By.TAG_NAME, "h3")]
    assert driver.find_elements(By.CSS_SELECTOR, "svg path.line")
    (refresh,) = driver.find_elements(By.CSS_SELECTOR, 'meta[http-equiv="refresh"]')
    assert refresh.get_attribute("content") == "10"
    assert not driver.find_element(By.ID, "pause").is_displayed()


def test_the_keyboard_reaches_everything_and_stays_where_it_is(stage: Viewing) -> None:
    stage.browser.look(width=390)
    stage.reopen()
    body = stage.browser.driver.switch_to.active_element
    seen = []
    for _ in range(7):
        body.send_keys(Keys.TAB)
        body = stage.browser.driver.switch_to.active_element
        seen.append(body.get_attribute("id") or body.text)
    assert seen == ["Skip to the servers", "/metrics", "/-/ready", "/-/healthy", "pause", "top-table", "workers-table"]
    before = stage.text("#time")
    wait_until(lambda: f'id="time">{before}' not in stage.collector.page("/"), message="another page")
    stage.wake()
    wait_until(lambda: stage.text("#time") != before, NEWS_SECONDS, "a refresh")
    assert stage.browser.driver.switch_to.active_element.get_attribute("id") == "workers-table"


def test_it_can_be_paused(stage: Viewing) -> None:
    stage.open()
    button = stage.browser.driver.find_element(By.ID, "pause")
    button.click()
    assert button.text == "Resume"
    paused = stage.text("#time")
    wait_until(lambda: f'id="time">{paused}' not in stage.collector.page("/"), message="another page")
    assert stage.text("#time") == paused
    button.click()
    wait_until(lambda: stage.text("#time") != paused, NEWS_SECONDS, "a refresh")


def test_a_collector_that_is_gone_is_said_to_be(stage: Viewing) -> None:
    stage.open()
    assert not stage.browser.driver.find_element(By.ID, "lost").is_displayed()
    stage.collector.terminate()
    stage.wake()
    wait_until(lambda: stage.browser.driver.find_element(By.ID, "lost").is_displayed(), NEWS_SECONDS, "the word")
    stage.collector.start()
    stage.wake()
    wait_until(lambda: not stage.browser.driver.find_element(By.ID, "lost").is_displayed(), NEWS_SECONDS, "the page")
    assert all("ERR_CONNECTION_REFUSED" in one for one in stage.browser.complaints())
