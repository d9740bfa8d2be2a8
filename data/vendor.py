"""Secrets of sources that are configured without code: they stand as references, and go where `{name}` stands.

A header, a parameter or a message of the configuration may hold `{name}`; `secrets` says where that secret lies. So the
configuration can be shown to anybody, and what was filled in is never shown.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, model_validator

from data.errors import InputError
from data.feed import Terms, Tools
from data.http import bare
from data.mapping import MappedOptions

TERMS: Final = Terms(
    trainable=None,
    redistributable=None,
    note="as the vendor's terms say; read them before you train on it or hand it on",
    url="https://example.com/the-terms-of-your-vendor",
)
REFERENCE: Final = re.compile(r"(?:env|file|credential):.+")
_SLOT = re.compile(r"\{([a-z][a-z0-9_]{0,39})\}")
_SECRET_NAME = re.compile(r"(?i)authorization|cookie|secret|token|password|signature|api[-_]?key|access[-_]?key|^key$")


class VendorOptions(MappedOptions):
    """Keys of generic sources that ask somebody over the network."""

    url: str = Field(description="address that is asked")
    params: dict[str, str] = Field({}, description="parameters of the address; {name} stands for a secret")
    headers: dict[str, str] = Field({}, description="headers; {name} stands for a secret")
    secrets: dict[str, str] = Field({}, description='names and where they lie, such as { key = "env:VENDOR_KEY" }')

    @model_validator(mode="after")
    def _no_secret_stands_here(self) -> VendorOptions:
        for name, reference in self.secrets.items():
            if not REFERENCE.fullmatch(reference):
                remedy = f'Keep it elsewhere and write {name} = "env:NAME", "file:PATH" or "credential:NAME"'
                raise InputError("a secret stands here", key=f"secrets.{name}", remedy=remedy)
            if not _SLOT.fullmatch(f"{{{name}}}"):
                remedy = "Small letters, digits and underscores, a letter first"
                raise InputError("not a name for a secret", key="secrets", value=name, remedy=remedy)
        for key, texts in (("params", self.params), ("headers", self.headers)):
            for name, text in texts.items():
                self._check(f"{key}.{name}", name, text)
        for name, text in parse_qsl(urlsplit(self.url).query):
            self._check("url", name, text)
        if _SLOT.search(self.url):
            remedy = "Secrets go into headers or params: an address is shown in messages"
            raise InputError("a secret in the address", key="url", value=bare(self.url), remedy=remedy)
        return self

    def _check(self, key: str, name: str, text: str) -> None:
        slots = _SLOT.findall(text)
        for slot in slots:
            if slot not in self.secrets:
                remedy = f'Say where it lies: secrets = {{ {slot} = "env:NAME" }}'
                raise InputError(f"{{{slot}}} isn't among the secrets", key=key, remedy=remedy)
        if text and not slots and _SECRET_NAME.search(name):
            remedy = f'Write {{{"key"}}} here, and secrets = {{ key = "env:NAME" }}'
            raise InputError("a secret stands here", key=key, remedy=remedy)


class Secrets:
    """The secrets of a feed, looked up once."""

    def __init__(self, told: VendorOptions, tools: Tools) -> None:
        self._found = {name: tools.secret(reference) for name, reference in told.secrets.items()}

    @property
    def values(self) -> list[str]:
        """What no message may repeat."""
        return list(self._found.values())

    def fill(self, told: Any) -> Any:
        """The same texts, lists and tables with the secrets in their places."""
        if isinstance(told, str):
            return _SLOT.sub(lambda slot: self._found.get(slot[1], slot[0]), told)
        if isinstance(told, dict):
            return {name: self.fill(each) for name, each in told.items()}
        if isinstance(told, list | tuple):
            return [self.fill(each) for each in told]
        return told

    def hide(self, text: str) -> str:
        """A text without them, should somebody have sent one back."""
        for value in self._found.values():
            if len(value) >= 4:
                text = text.replace(value, "***")
        return text


def check_purse(told: VendorOptions, tools: Tools) -> None:
    """Refuse a vendor who is paid when there is nothing to pay from.

    Raises
    ------
    InputError
    """
    if told.cost > 0 and tools.purse is None:
        raise InputError("it costs money, and there is no purse", key="cost", remedy="Set a cap a day and a month")
