"""What somebody sees of a Run in Temporal's Web UI, in a real browser. `--pictures FOLDER` keeps what is seen."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Error, Page, TimeoutError, async_playwright

from temporal_runs.client import RunFailed, RunHandle, RunStopped
from tests.conftest import System, eventually

CHROMIUM = "/usr/bin/chromium"
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
"""Root may not use Chromium's sandbox; what it would ask the internet for is not to be had."""

FIT = """
    for epoch in 1 2 3; do echo "epoch $epoch: loss 0.$((9 - 2 * epoch))"; done
    echo 'species,mass' > fitted.csv
"""


@pytest_asyncio.fixture(scope="module")
async def browser() -> AsyncIterator[Page]:
    """A window of a browser."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = await chromium.new_page(viewport={"width": 1280, "height": 960})
        yield page
        await chromium.close()


Open = Callable[[RunHandle, str], Awaitable[Page]]
Keep = Callable[[str], Awaitable[None]]


@pytest.fixture
def open_tab(browser: Page, web_ui: str) -> Open:
    """Opens one tab of a Run's page."""

    async def open_tab(handle: RunHandle, tab: str) -> Page:
        # With its execution: of an id alone the UI asks visibility, which lags behind.
        execution = (await handle.status()).execution_id
        address = f"{web_ui}/namespaces/default/workflows/{handle.id}/{execution}"

        async def opens() -> bool:
            await browser.goto(address)
            try:
                await browser.get_by_role("tab", name=tab).click(timeout=20_000)
            except TimeoutError:  # on a busy machine the first page now and then stays empty
                return False
            return True

        await eventually(opens, 90)
        return browser

    return open_tab


@pytest.fixture
def keep(browser: Page, pytestconfig: pytest.Config) -> Keep:
    """Takes a picture for the docs, where that was asked for."""

    async def keep(name: str) -> None:
        if folder := pytestconfig.getoption("pictures"):
            await browser.screenshot(path=Path(str(folder)) / f"{name}.png")

    return keep


async def sees(page: Page, *texts: str) -> None:
    """Waits until all of them can be read: in the page, or in the frames that show Markdown."""

    async def are_there() -> bool:
        try:
            shown = "\n".join([await frame.locator("body").inner_text() for frame in page.frames])
        except Error:  # a frame went away as it was read: the page is being made
            return False
        return all(text in shown for text in texts)

    await eventually(are_there)


async def test_a_running_run_tells_what_it_does_and_how_to_see_more(system: System, open_tab: Open, keep: Keep):
    handle = await system.begun(FIT, title="Three species, fitted", owner="ada")
    page = await open_tab(handle, "User Metadata")
    await sees(page, "Three species, fitted", "Running", "the command executes", "1 file brought", "Owner: ada")
    await sees(page, f"temporal-runs logs {handle.id}", f"temporal-runs stop {handle.id}")
    await keep("running")
    page = await open_tab(handle, "Pending Activities")
    await sees(page, "begun", "cpu_seconds", "memory_bytes")
    await keep("running-console")
    await handle.stop()


async def test_a_failed_run_tells_whose_fault_it_was_and_what_to_do(system: System, open_tab: Open, keep: Keep):
    handle = await system.start(f"{FIT} echo 'no such column: wing' >&2; exit 3", title="Three species, fitted")
    with pytest.raises(RunFailed):
        await handle.result()
    page = await open_tab(handle, "User Metadata")
    await sees(page, "Failed", "exit_code (user)", "What to do:", "no such column: wing", "exit status 3", "1 added")
    await keep("failed")
    page = await open_tab(handle, "Search Attributes")
    await sees(page, "RunState", "Failed", "RunCause", "exit_code")


async def test_a_stopped_run_tells_who_stopped_it_and_what_was_kept(system: System, open_tab: Open, keep: Keep):
    handle = await system.start(f"{FIT} sleep 600", title="Three species, fitted")
    await eventually(lambda: _printed(system, handle, b"epoch 3"))
    await handle.stop(reason="the data has changed")
    with pytest.raises(RunStopped):
        await handle.result()
    page = await open_tab(handle, "User Metadata")
    await sees(page, "Stopped", "Stop: the data has changed", "1 added", f"--results {handle.id}")
    await keep("stopped")


async def test_the_timeline_tells_each_activity_by_what_it_does(system: System, open_tab: Open, keep: Keep):
    handle = await system.start(FIT, title="Three species, fitted")
    await handle.result()
    page = await open_tab(handle, "Timeline")
    await sees(page, "waits for tier tiny since", "brings the files of", "makes changed files a version")
    await keep("timeline")


async def _printed(system: System, handle: RunHandle, text: bytes) -> bool:
    return text in await system.console(handle)
