"""The order of the tests: files that hold a slow one come first, so that processes that share them end together; and their heap."""

import gc

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """What is imported stays: robosuite would look through all of it whenever an environment closes."""
    gc.collect()
    gc.freeze()
