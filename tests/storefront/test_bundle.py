"""morelike.js is one script made of modules."""

import re

import pytest

from backend.storefront.bundle import INSTANTSEARCH_MODULES, MODULES, STATIC, instantsearch_script, script

BUNDLES = {"morelike": (MODULES, script), "instantsearch": (INSTANTSEARCH_MODULES, instantsearch_script)}
EACH = pytest.mark.parametrize("folder", BUNDLES)


@EACH
def test_every_module_is_in_its_script(folder: str) -> None:
    assert {path.name for path in (STATIC / folder).glob("*.js")} == set(BUNDLES[folder][0])


def test_the_style_is_in_the_script() -> None:
    served = script().content.decode()
    assert "container-type" in served
    assert "window.Morelike = Morelike" in served


@EACH
def test_nothing_of_a_module_is_left_that_a_classic_script_does_not_know(folder: str) -> None:
    served = BUNDLES[folder][1]().content.decode()
    assert not re.search(r"^(import|export)\b", served, re.MULTILINE)


@EACH
def test_a_name_is_declared_once(folder: str) -> None:
    """The modules share one scope: a second declaration would be a syntax error in every browser."""
    declared = re.findall(
        r"^(?:async )?(?:function|class|const|let) (\w+)", BUNDLES[folder][1]().content.decode(), re.MULTILINE
    )
    assert sorted(declared) == sorted(set(declared))


@EACH
def test_modules_import_only_what_stands_before_them(folder: str) -> None:
    modules = BUNDLES[folder][0]
    for place, name in enumerate(modules):
        source = (STATIC / folder / name).read_text("utf-8")
        for imported in re.findall(r'from "\./(\w+\.js)"', source):
            assert imported in modules[:place], f"{name} imports {imported}"


def test_markup_is_never_made_from_text() -> None:
    for path in STATIC.rglob("*.js"):
        source = path.read_text("utf-8")
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert way not in source, f"{path.name} uses {way}"
