"""The ``morelike`` command: composes the files of ``backend/commands``.

A file of ``backend/commands`` offers ``register(app)``, which adds its commands; it is named in ``COMMANDS`` below.
"""

import sys
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperGroup

from backend.commands import (
    builds,
    captions,
    compare,
    demo,
    doctor,
    encoder,
    evaluate,
    evaluate_adapters,
    experiments,
    health,
    images,
    imports,
    keys,
    nightly,
    policies,
    run,
    schema,
    shop,
    shoppers,
    simulate,
    train,
    webhooks,
)
from backend.errors import AppError

COMMANDS: tuple[ModuleType, ...] = (
    run,
    demo,
    simulate,
    encoder,
    evaluate,
    evaluate_adapters,
    builds,
    compare,
    imports,
    shop,
    train,
    images,
    captions,
    webhooks,
    policies,
    experiments,
    nightly,
    keys,
    shoppers,
    schema,
    doctor,
    health,
)


class ErrorsAsSentences(TyperGroup):
    """Shows an ``AppError``, or a setting that cannot be read, as one sentence and exit code 1.

    Anything else is a defect and keeps its traceback.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command named on the command line."""
        try:
            return super().main(*args, **kwargs)
        except AppError as error:
            sys.stderr.write(f"morelike: {error.sentence()}\n")
            sys.exit(1)
        except ValueError as error:
            said = _of_settings(error)
            if said is None:
                raise
            sys.stderr.write(f"morelike: {said}\n")
            sys.exit(1)


def _of_settings(error: ValueError) -> str | None:
    """What is wrong with which setting, a sentence; None where ``error`` is not about settings."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from backend.settings import Settings
    from backend.unusable_settings import sentences

    if isinstance(error, SettingsError):
        return str(error)
    if isinstance(error, ValidationError) and error.title == Settings.__name__:
        return sentences(error)
    return None


app = typer.Typer(
    cls=ErrorsAsSentences,
    help="Product search by words, picture or product that learns from its shoppers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for commands in COMMANDS:
    commands.register(app)

if __name__ == "__main__":
    app()
