"""Settings of one machine: environment variables `TEMPORAL_RUNS_*`, or the same names in a TOML file.

The file is `$TEMPORAL_RUNS_CONFIG`, else `temporal-runs.toml` in HOME's default place. Which Temporal server to
use is not ours to say: that is `TEMPORAL_ADDRESS` and `temporal.toml`, see `connection`.
"""

import os
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from temporal_runs.delivery import Delivery, Mail, Tls, Webhooks
from temporal_runs.fields import Id, ImageReference, Seconds, Text
from temporal_runs.notices import EmailAddress, WebAddress
from temporal_runs.registries import Registry
from temporal_runs.steps import Tier

Content = TypeVar("Content")

GIB = 2**30
DEFAULT_HOME = Path("~/.local/share/temporal-runs").expanduser()
DEFAULT_TIERS = (
    Tier(name="small", cores=1, memory=1 * GIB),
    Tier(name="medium", cores=2, memory=4 * GIB),
    Tier(name="large", cores=4, memory=16 * GIB),
)


def memory_bytes(text: str | int) -> int:
    """Bytes of a size such as 512MiB, 4GiB, 4g or a plain number; raises ValueError."""
    if isinstance(text, int):
        return text
    units = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
    number = text.rstrip("BbIiKkMmGgTt")
    unit = text[len(number) :].lower().rstrip("b").rstrip("i")
    try:
        return int(float(number) * units[unit])
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a size: write 512MiB or 4GiB") from None


class SettingsError(ValueError):
    """Settings that cannot be used; the message names the setting and what was expected."""


class Settings(BaseSettings):
    """What a process of ours needs to know of its machine and its fleet."""

    model_config = SettingsConfigDict(env_prefix="TEMPORAL_RUNS_", extra="forbid", frozen=True)

    home: Path = DEFAULT_HOME
    """this machine's folder: embedded server's database, ledger, workspaces"""
    store: str = ""
    """URL of the file store; a folder in HOME by default"""
    registry: str | None = None
    """host:port of the image registry that built images are shared by"""
    task_queue: str = "runs"
    """where workflows and queueing are taken in"""
    lease: Annotated[float, Field(ge=5, le=24 * 3600)] = 120
    """seconds a silent executor keeps a Run"""
    cache: Annotated[int, BeforeValidator(memory_bytes)] = 20 * GIB
    """bytes of projects' files an executor keeps for the next Runs: 512MiB, 100GiB"""
    image_cache: Annotated[int, BeforeValidator(memory_bytes)] = 50 * GIB
    """bytes of images that an executor keeps of those it has pulled or built"""
    console: Annotated[int, BeforeValidator(memory_bytes), Field(ge=2**16)] = 1 * GIB
    """bytes that are kept of what a command prints: of more, the first half and the last one"""
    tiers: Path | None = None
    """TOML file of tiers: `[small] cores = 1, memory = "1GiB", disk = "10GiB", mounts = {genomes = "/data/genomes"}`"""
    registries: Path | None = None
    """TOML file of registries: `[team] host = "h:5000", username = "ci", password_file = "/etc/p", owners = ["ada"]`"""
    traces: WebAddress | None = None
    """where a worker sends its OpenTelemetry traces (OTLP over HTTP): http://collector:4318/v1/traces"""
    notifications: Path | None = None
    """TOML file: `web_ui = "https://..."`, `[webhooks] hosts, secret_file`, `[smtp] host, sender, tls, ...`"""
    metrics: Annotated[str, Field(pattern=r"^([0-9.]+|\[[0-9a-f:]+\]):[0-9]{1,5}$")] | None = None
    """address:port at which a worker's metrics can be read; none by default"""

    @classmethod
    def load(cls) -> "Settings":
        """The settings of this process; raises SettingsError."""
        try:
            return cls()
        except ValidationError as error:
            problem = error.errors()[0]
            name = "TEMPORAL_RUNS_" + ".".join(str(part) for part in problem["loc"]).upper()
            raise SettingsError(f"{name}: {problem['msg']}") from None
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{_config_file()} is not TOML: {error}") from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment overrides the file."""
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _config_file()))

    @property
    def store_url(self) -> str:
        """Where projects, consoles and final statuses are kept."""
        return self.store or str(self.home / "store")

    @property
    def secrets_folder(self) -> Path:
        """Where an executor finds the files that a spec's `secrets` name."""
        return self.home / "secrets"

    @cached_property
    def tier_table(self) -> dict[str, Tier]:
        """The tiers by name; raises SettingsError when the tiers' file cannot be used."""
        if self.tiers is None:
            return {tier.name: tier for tier in DEFAULT_TIERS}
        entries = _read("TEMPORAL_RUNS_TIERS", self.tiers, TypeAdapter(dict[Id, _TierEntry]))
        return {name: entry.as_tier(name) for name, entry in entries.items()}

    @cached_property
    def registry_table(self) -> dict[str, Registry]:
        """The registries that environments may name; raises SettingsError when their file cannot be used."""
        if self.registries is None:
            return {}
        entries = _read("TEMPORAL_RUNS_REGISTRIES", self.registries, TypeAdapter(dict[Id, _RegistryEntry]))
        return {name: entry.as_registry(name) for name, entry in entries.items()}

    @cached_property
    def delivery(self) -> Delivery:
        """How notifications leave; raises SettingsError when their file cannot be used."""
        if self.notifications is None:
            return Delivery()
        return _read("TEMPORAL_RUNS_NOTIFICATIONS", self.notifications, TypeAdapter(_DeliveryEntry)).as_delivery()


def _read(setting: str, file: Path, content: TypeAdapter[Content]) -> Content:
    try:
        return content.validate_python(tomllib.loads(file.read_text()))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{setting}: {file} cannot be read: {error}") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise SettingsError(f"{setting}: {file}: {where}: {problem['msg']}") from None


class _TierEntry(BaseModel, extra="forbid"):
    cores: Annotated[float, Field(gt=0)]
    memory: str | int
    gpus: Annotated[int, Field(ge=0)] = 0
    pids: Annotated[int, Field(gt=0)] = 4096
    shm: str | int = "64MiB"
    disk: str | int | None = None
    user: Annotated[int, Field(ge=1, le=2**31)] | None = None
    default_time_limit: Seconds | None = None
    max_time_limit: Seconds | None = None
    mounts: dict[str, Annotated[str, Field(pattern=r"^/")]] = {}
    images: list[ImageReference] = []

    @model_validator(mode="after")
    def the_default_is_allowed(self) -> Self:
        """Raises ValueError where Runs that ask for no time limit would get a greater one than others may have."""
        if self.max_time_limit and (self.default_time_limit or 0) > self.max_time_limit:
            raise ValueError("default_time_limit should not be greater than max_time_limit")
        return self

    def as_tier(self, name: str) -> Tier:
        return Tier(
            name=name,
            cores=self.cores,
            memory=memory_bytes(self.memory),
            gpus=self.gpus,
            pids=self.pids,
            shm=memory_bytes(self.shm),
            disk=None if self.disk is None else memory_bytes(self.disk),
            user=self.user,
            default_time_limit=self.default_time_limit,
            max_time_limit=self.max_time_limit,
            mounts=self.mounts,
            images=self.images,
        )


class _RegistryEntry(BaseModel, extra="forbid"):
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?$")]
    username: Annotated[str, Field(min_length=1)]
    password_file: Path
    owners: list[Text] | None = None

    def as_registry(self, name: str) -> Registry:
        owners = None if self.owners is None else tuple(self.owners)
        return Registry(name, self.host, self.username, self.password_file, owners)


class _WebhooksEntry(BaseModel, extra="forbid"):
    hosts: list[str] | None = None
    secret_file: Path | None = None


class _SmtpEntry(BaseModel, extra="forbid"):
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*:[0-9]+$")]
    sender: EmailAddress
    tls: Tls = "starttls"
    username: str | None = None
    password_file: Path | None = None

    @model_validator(mode="after")
    def a_login_is_whole_and_encrypted(self) -> Self:
        """Raises ValueError for half a login, and for one that anybody could read on its way."""
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together")
        if self.username and self.tls == "none":
            raise ValueError('a login needs tls = "starttls" or "tls"')
        return self

    def as_mail(self) -> Mail:
        host, _, port = self.host.partition(":")
        return Mail(host, int(port), self.sender, self.tls, self.username, self.password_file)


class _DeliveryEntry(BaseModel, extra="forbid"):
    web_ui: WebAddress | None = None
    webhooks: _WebhooksEntry = _WebhooksEntry()
    smtp: _SmtpEntry | None = None

    def as_delivery(self) -> Delivery:
        hosts = None if self.webhooks.hosts is None else tuple(self.webhooks.hosts)
        webhooks = Webhooks(hosts, self.webhooks.secret_file)
        return Delivery(webhooks, self.smtp and self.smtp.as_mail(), self.web_ui)


def _config_file() -> Path:
    return Path(os.environ.get("TEMPORAL_RUNS_CONFIG", DEFAULT_HOME / "temporal-runs.toml"))
