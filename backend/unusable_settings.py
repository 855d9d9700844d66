"""Settings that cannot be used, as people are told: which, what was found, what was expected."""

from pydantic import ValidationError

from backend.settings import Settings


def sentences(error: ValidationError) -> str:
    """Which variables cannot be used, what they are and what was expected; what is secret is not said."""
    said = []
    for one in error.errors(include_url=False):
        place = str(one["loc"][0]) if one["loc"] else ""
        field = Settings.model_fields.get(place)
        name = f"{Settings.model_config['env_prefix']}{place.upper()}" if field else place.upper()
        secret = (field is not None and "SecretStr" in repr(field.annotation)) or name.endswith("_PASSWORD")
        found = "a secret" if secret else repr(one["input"])
        said.append(f"{name} cannot be used. Found: {found}. Expected: {one['msg'].removeprefix('Input should be ')}.")
    return " ".join(said)
