"""The report on a phone, in a real Chromium."""

from pathlib import Path

from tests.support.page import browsing
from tests.support.research import Research
from tests.test_report import facts_in, page_of


async def test_a_phone_shows_a_picture_of_its_own_that_needs_no_scrolling(tmp_path: Path) -> None:
    """In its width letters are at least nine pixels high, and no words leave the picture."""
    page = tmp_path / "report.html"
    page.write_text(page_of(await facts_in(Research(300).fold(tmp_path / "a.duckdb"))), encoding="utf-8")
    async with browsing() as browser:
        for width, shown in ((375, "narrow"), (1280, "broad")):
            tab = await browser.new_page(viewport={"width": width, "height": 812})
            await tab.goto(page.as_uri())
            pictures = [each for each in await tab.locator("figure > div").all() if await each.is_visible()]
            assert [await each.get_attribute("class") for each in pictures] == [shown]
            assert await pictures[0].evaluate("each => each.scrollWidth <= each.clientWidth")
            assert await tab.evaluate("document.documentElement.scrollWidth") == width
            words = (
                await pictures[0]
                .locator("text")
                .evaluate_all(
                    "all => all.map((text) => { const box = text.getBoundingClientRect();"
                    " return [text.textContent, box.left, box.right, box.height]; })"
                )
            )
            frame = await pictures[0].bounding_box()
            assert frame
            assert min(height for *_, height in words) >= 9
            beyond = [
                text
                for text, left, right, _ in words
                if left < frame["x"] - 1 or right > frame["x"] + frame["width"] + 1
            ]
            assert beyond == []
            await tab.close()
