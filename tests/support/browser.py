"""The browser in which the report is tested."""

from __future__ import annotations

import os
import shutil

import pytest

MISSING = "The report is tested in Chromium, which is not here: apt-get install chromium chromium-driver"


def chromium() -> tuple[str, str]:
    """The paths of Chromium and of its driver. Where they are missing the test is skipped, and in CI it fails."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser and driver:
        return browser, driver
    if os.environ.get("CI") == "true":
        pytest.fail(MISSING, pytrace=False)
    pytest.skip(MISSING)
