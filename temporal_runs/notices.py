"""Who is told when a Run ends, as specs and projects' settings say it: a URL or an e-mail address, and the outcomes."""

from typing import Annotated, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

Outcome = Literal["Succeeded", "Failed", "Error", "Stopped"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

MOST = 20
"""How many one spec, or one project, may have told."""


def _web_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for one that is no number
    except ValueError as error:
        raise ValueError(f"should be a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii() or not url.isprintable():
        raise ValueError("should be a URL such as https://hooks.example.org/runs")
    if parts.username is not None or parts.password is not None:
        raise ValueError("should not hold a user or password: specs are shown to people")
    return url


WebAddress = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_web_address)]
EmailAddress = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._%+'-]+@[A-Za-z0-9.-]+$", max_length=254)]


class Notice(BaseModel):
    """One who is told: either `url` or `email`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: WebAddress | None = None
    """gets a POST with JSON"""
    email: EmailAddress | None = None
    on: Annotated[list[Outcome], Field(min_length=1)] = list(OUTCOMES)
    """outcomes that it is told of; all by default"""

    @model_validator(mode="after")
    def one_recipient(self) -> Self:
        """Raises ValueError unless it names exactly one."""
        if (self.url is None) == (self.email is None):
            raise ValueError('needs either "url" or "email"')
        return self

    @property
    def to(self) -> str:
        """The URL or the address."""
        return self.url or self.email or ""

    @property
    def shown(self) -> str:
        """The same, for logs and pages: of a URL no more than the host, what follows is a secret often."""
        if self.url is None:
            return self.to
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def __str__(self) -> str:
        return self.to if set(self.on) == set(OUTCOMES) else f"{self.to}={','.join(self.on)}"

    @classmethod
    def read(cls, text: str) -> Self:
        """What `str` gives: an address, and after a `=` the outcomes if not all. Raises ValueError."""
        to, _, outcomes = text.rpartition("=")
        on = outcomes.split(",")
        if not to or not set(on) <= set(OUTCOMES):
            to, on = text, list(OUTCOMES)
        return cls.model_validate({"url" if "://" in to else "email": to, "on": on})


Notices = Annotated[list[Notice], Field(max_length=MOST)]
