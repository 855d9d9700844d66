"""morelike.js is one script made of modules."""

import re

from backend.storefront.bundle import MODULES, STATIC, script


def test_every_module_and_the_style_are_in_the_script() -> None:
    assert {path.name for path in (STATIC / "morelike").glob("*.js")} == set(MODULES)
    served = script().content.decode()
    assert "container-type" in served
    assert "window.Morelike = Morelike" in served


def test_nothing_of_a_module_is_left_that_a_classic_script_does_not_know() -> None:
    served = script().content.decode()
    assert not re.search(r"^(import|export)\b", served, re.MULTILINE)


def test_a_name_is_declared_once() -> None:
    """The modules share one scope: a second declaration would be a syntax error in every browser."""
    declared = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", script().content.decode(), re.MULTILINE)
    assert sorted(declared) == sorted(set(declared))


def test_modules_import_only_what_stands_before_them() -> None:
    for place, name in enumerate(MODULES):
        source = (STATIC / "morelike" / name).read_text("utf-8")
        for imported in re.findall(r'from "\./(\w+\.js)"', source):
            assert imported in MODULES[:place], f"{name} imports {imported}"


def test_markup_is_never_made_from_text() -> None:
    for path in [*(STATIC / "morelike").glob("*.js"), STATIC / "storefront.js"]:
        source = path.read_text("utf-8")
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert way not in source, f"{path.name} uses {way}"
