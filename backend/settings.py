"""Everything that can be configured, read once from the environment at each composition root."""

from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

TokenForm = Literal["off", "pooled", "int8", "fp16"]


class Files(EnvSettingsSource):
    """What files hold that variables name: ``DATABASE_PASSWORD_FILE=/run/secrets/p`` gives ``DATABASE_PASSWORD``.

    White space at both ends does not count, and an empty file gives nothing: an optional secret may be an empty file.

    Raises:
        SettingsError: the file cannot be read, or the variable itself is set, too.
    """

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        given = dict(self.env_vars)
        fields = settings_cls.model_fields.items()
        names = {name for key, field in fields for _, name, _ in self._extract_field_info(field, key)}
        contents = {name: self._content(name, path, given) for name in names if (path := given.get(f"{name}_file"))}
        self.env_vars = {name: content for name, content in contents.items() if content}

    @staticmethod
    def _content(name: str, path: str, given: dict[str, str | None]) -> str:
        variable = name.upper()
        if given.get(name):
            raise SettingsError(f"Both {variable} and {variable}_FILE are set: expected one of them.")
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
            raise SettingsError(f"{variable}_FILE names {path}, which cannot be read: {reason}.") from error


class Settings(BaseSettings):
    """Settings of one process. Rooms receive values from here; none of them reads the environment."""

    model_config = SettingsConfigDict(env_prefix="MORELIKE_", frozen=True, extra="ignore", populate_by_name=True)

    home: Path = Field(default=Path(".morelike"), description="Folder that holds the embedded stores, blobs and logs.")
    host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port the API listens on.")

    database_password: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_PASSWORD", "database_password"),
        description="Password for DATABASE_URL, where that has none.",
    )
    database_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL", "database_url"),
        description="PostgreSQL to use instead of the embedded one, as postgresql://user:password@host/name.",
    )
    redis_password: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("REDIS_PASSWORD", "redis_password"),
        description="Password for REDIS_URL, where that has none.",
    )
    redis_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("REDIS_URL", "redis_url"),
        description="Redis to use instead of the embedded one, as redis://host:6379/0.",
    )
    milvus_uri: str | None = Field(
        default=None,
        validation_alias=AliasChoices("MILVUS_URI", "milvus_uri"),
        description="Milvus to use instead of the embedded Milvus Lite, as http://host:19530.",
    )
    milvus_token: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("MILVUS_TOKEN", "milvus_token"),
        description="Token of that Milvus, as user:password, where it asks for one.",
    )

    encoder: str = Field(
        default="demo",
        description="Encoder of a new catalogue: demo, NAME:PRETRAINED of open_clip, hf-hub:ID or local-dir:PATH.",
    )
    device: str = Field(default="auto", description="Where the workers encode: auto, cpu, cuda or cuda:N.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="Arithmetic of the image tower; auto takes bf16 where the processor has it."
    )
    torch_threads: int = Field(default=0, ge=0, description="Threads of a worker's encoder; 0 takes one per core.")
    tokens: TokenForm = Field(
        default="int8", description="How patch and word tokens are kept: off, pooled, int8, fp16."
    )
    embed_batch: int = Field(
        default=0, ge=0, le=4096, description="Images encoded in one batch; 0 takes 64, or 256 on a GPU."
    )
    decode_threads: int = Field(
        default=0, ge=0, le=256, description="Threads that decode images ahead; 0 takes 2, or one per core on a GPU."
    )

    session_hours: float = Field(
        default=72.0, gt=0, description="Hours after which a list can no longer be refined; a new search begins anew."
    )
    rollback_window_h: float = Field(
        default=72.0, ge=0, description="Hours for which the index build of a generation that stepped down is kept."
    )
    event_retention_days: int = Field(
        default=90, ge=1, description="Days for which served lists and events are kept; whole days are dropped."
    )

    demo: bool = Field(
        default=False, description="The stack shows the demo shop: loopback callers need no key. Never in production."
    )
    public_url: str | None = Field(default=None, description="Address under which shoppers reach the API.")
    request_max_bytes: int = Field(default=16 * 2**20, ge=2**10, description="Largest request body, in bytes.")
    rate_limit_per_minute: int = Field(
        default=1200, ge=0, description="Requests a minute for one key and address where the key names none; 0 is none."
    )
    database_pool: int = Field(default=16, ge=1, le=500, description="Database connections and threads of the API.")

    refine_policy: str = Field(default="auto", description="Name of the policy that refinements follow.")

    holdout_share: float = Field(
        default=0.01, ge=0, le=0.5, description="Share of shoppers who stay out of all experiments, for comparison."
    )
    exploration_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of sessions that explore until `morelike experiment explore` says otherwise.",
    )
    screen_share: float = Field(
        default=0.05,
        ge=0,
        le=0.5,
        description="Share of shoppers who are shown what offline gates could not judge, interleaved; 0 never does.",
    )
    screen_units: int = Field(
        default=2000, ge=100, description="Shoppers with a preference after whom such a trial may be won."
    )
    screen_days: float = Field(default=14.0, gt=0, description="Days after which it is dropped, undecided.")
    guard_share: float = Field(
        default=0.05,
        ge=0,
        le=0.5,
        description="Share of shoppers who keep what a new generation replaced, so that it can be guarded; 0 is off.",
    )
    guard_hours: float = Field(default=48.0, gt=0, description="Hours for which a new generation is guarded.")

    nightly_at: str = Field(
        default="02:00",
        pattern=r"^(([01]\d|2[0-3]):[0-5]\d|off)$",
        description="Time in UTC at which the night learns from what shoppers did; off never does.",
    )
    nightly_window_days: float = Field(default=28.0, gt=0, le=3660, description="Days that a night learns from.")
    item_heads_days: float = Field(
        default=7.0,
        ge=0,
        le=3660,
        description="Days after which heads of items learn, too, which want an index build; 0 never.",
    )

    transcriber_url: str | None = Field(
        default=None,
        description="Server that turns speech into words through OpenAI's API, as https://api.openai.com/v1.",
    )
    transcriber_model: str = Field(default="whisper-1", description="Model that this server is asked for.")
    transcriber_key: SecretStr | None = Field(default=None, description="Key of this server, where it asks for one.")
    transcriber_timeout_s: float = Field(default=15.0, gt=0, description="Seconds one transcription may take in all.")
    transcriber_max_bytes: int = Field(default=4 * 2**20, ge=2**10, description="Largest recording, in bytes.")
    transcriber_per_minute: int = Field(
        default=120, ge=0, description="Transcriptions a minute over all callers, each of which may cost; 0 is no cap."
    )

    shopify_secret: SecretStr | None = Field(
        default=None, description="Secret that Shopify signs webhooks with; two with a comma while one is replaced."
    )
    woocommerce_secret: SecretStr | None = Field(
        default=None, description="Secret that WooCommerce signs webhooks with; two with a comma likewise."
    )
    webhook_secret: SecretStr | None = Field(
        default=None, description="Secret of generic JSON webhooks; two with a comma likewise."
    )
    webhook_retention_days: float = Field(
        default=30.0, gt=0, description="Days for which deliveries of webhooks are kept."
    )
    webhook_durable: bool = Field(
        default=True, description="A webhook is answered once it is on disk, rather than milliseconds before."
    )
    shop_currency: str | None = Field(
        default=None, pattern="^[A-Za-z]{3}$", description="Currency of prices that name none, as EUR."
    )
    shop_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/@]+(/\S*)?$",
        description="Shop that the catalogue is compared with at night, as https://shop.example.",
    )
    shop_client_id: str | None = Field(
        default=None, description="Client id of an app of that Shopify shop, or consumer key of WooCommerce."
    )
    shop_client_secret: SecretStr | None = Field(
        default=None, description="Secret of that app or key; a token of Shopify's (shpat_…) stands here alone."
    )
    shop_patience_s: float = Field(
        default=300.0, ge=0, description="Seconds one request waits in all for a shop's outages and rate limits to end."
    )
    reconcile_at: str = Field(
        default="03:30",
        pattern=r"^(([01]\d|2[0-3]):[0-5]\d|off)$",
        description="Time in UTC at which that shop's list and the catalogue are compared; off never does.",
    )

    image_max_bytes: int = Field(
        default=20 * 2**20, ge=2**10, description="Largest image that is downloaded, in bytes."
    )
    image_max_pixels: int = Field(default=50_000_000, ge=2**10, description="Largest image that is decoded, in pixels.")
    image_timeout_s: float = Field(default=15.0, gt=0, description="Seconds one image download may take in all.")
    image_attempts: int = Field(default=5, ge=1, le=50, description="Downloads tried before an image is parked.")
    image_backoff_s: float = Field(default=30.0, ge=0, description="Seconds before the first retry; doubles each time.")
    image_allowed_hosts: frozenset[str] = Field(
        default=frozenset(),
        description='Hosts on private addresses that images may come from, as JSON: ["images.internal:8080"].',
    )
    captioner: str = Field(
        default="off",
        pattern="^(off|(openai|coca):.+)$",
        description="Who captions pictures: off, openai:MODEL, coca:NAME:PRETRAINED or coca:local-dir:PATH.",
    )
    captioner_url: str = Field(
        default="https://api.openai.com/v1", description="Base URL of the OpenAI-compatible server that openai: means."
    )
    captioner_key: SecretStr | None = Field(default=None, description="Key of that server, where it asks for one.")
    captioner_timeout_s: float = Field(default=60.0, gt=0, description="Seconds one request to it may take in all.")
    captioner_threads: int = Field(default=4, ge=1, le=64, description="Pictures a worker talks about at a time.")
    caption_images: int = Field(
        default=1, ge=0, description="Pictures of a product that are captioned, the first ones; 0 is all."
    )
    caption_per_minute: int = Field(default=120, ge=0, description="Requests a minute to that server; 0 is no limit.")
    caption_per_day: int = Field(default=10_000, ge=0, description="Requests a day (UTC) to it; 0 is no limit.")
    caption_prompts: tuple[str, ...] = Field(
        default=(), description="Prompts that open a conversation about a picture, as JSON, instead of the usual ones."
    )
    caption_second_prompt: str | None = Field(
        default=None, description="Prompt whose answer is the caption, instead of the usual one; empty for one turn."
    )

    gate_satisfied: int = Field(default=2000, ge=0, description="Satisfied clicks from which on a night learns.")
    gate_assumed: float = Field(
        default=0.01, ge=0, le=1, description="Share of lists whose propensities may be only assumed."
    )
    gate_srm: float = Field(default=0.001, ge=0, le=1, description="p below which arms of a test were split wrongly.")
    gate_viewport_loss: float = Field(
        default=0.05, ge=0, le=1, description="Share of lists that may fail to report what was in view."
    )
    gate_agreement: float = Field(
        default=0.55, ge=0, le=1, description="Place of clicked products in the live order; 0.5 is a coin."
    )
    gate_suspects: float = Field(
        default=0.05, ge=0, le=1, description="Share of clicks on lists of which nearly everything was clicked."
    )
    gate_retention: float = Field(default=0.98, ge=0, le=2, description="Share of golden answers that must be kept.")
    gate_retention_kind: float = Field(default=0.95, ge=0, le=2, description="The same for each kind of query.")
    gate_golden: int = Field(default=100, ge=1, description="Golden queries from which on that is known.")
    gate_cosine: float = Field(default=0.85, ge=-1, le=1, description="Mean cosine of a query before and after heads.")
    gate_overlap: float = Field(default=0.6, ge=0, le=1, description="Median share of the first ten that stays.")
    gate_exposure: float = Field(default=5.0, ge=1, description="Times as much attention a product may get at most.")
    gate_inferior: float = Field(default=0.005, ge=0, le=1, description="Share that held-out measures may lose.")
    gate_margin: float = Field(default=0.0025, ge=0, le=1, description="Share that the estimated gain must exceed.")
    gate_effective: float = Field(default=1000.0, ge=0, description="Effective sample of clicks that a gain rests on.")
    gate_effective_share: float = Field(default=0.1, ge=0, le=1, description="The same as a share of the clicks.")
    gate_coverage: float = Field(
        default=0.95, ge=0, le=1, description="Share of attention on products that the log could have shown."
    )
    gate_heaviest: float = Field(default=0.01, gt=0, le=1, description="Share of all weight that one click may have.")
    gate_slice: int = Field(default=300, ge=1, description="Satisfied clicks from which on a slice is tested.")
    gate_latency: float = Field(default=0.05, ge=0, description="Share by which a query may take longer.")

    mlflow_uri: str | None = Field(default=None, description="MLflow tracking store that evaluations are logged to.")

    sweep_interval_s: float = Field(default=15.0, gt=0, description="Seconds between two searches for forgotten work.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    log_json: bool = Field(default=False, description="Log lines as JSON rather than for people.")

    @cached_property
    def blob_dir(self) -> Path:
        """Folder of image bytes and thumbnails."""
        return self.home.absolute() / "blobs"

    @field_validator("database_url", "redis_url")
    @classmethod
    def _with_password(cls, url: str | None, others: ValidationInfo) -> str | None:
        password = others.data.get(f"{str(others.field_name).removesuffix('_url')}_password")
        return url_with_password(url, password.get_secret_value()) if url and password else url

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then variables, then the files that variables name; the others find nothing unless asked to."""
        return init_settings, env_settings, Files(settings_cls), dotenv_settings, file_secret_settings


def url_with_password(url: str, password: str) -> str:
    """``url`` with ``password`` for its user; unchanged where it has one."""
    parts = urlsplit(url)
    if parts.password is not None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username or ''}:{quote(password, safe='')}@{host}").geturl()
