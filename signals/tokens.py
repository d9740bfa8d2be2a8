"""From texts to token numbers: one window a text, or several for a long one when that is asked for.

``lead``: a text is read from its beginning, so a title and the lead that follows it, as far as the model's length goes.
``windows``: it is cut into windows of the model's length, `WINDOWS_MAX` at most, and its probabilities are the mean of
the windows', weighted by their tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from data.errors import InputError
from signals.card_file import read_object

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LONG: Final = ("lead", "windows")
WINDOWS_MAX: Final = 16
CHARS_A_TOKEN: Final = 16
"""No more characters a token are looked at: what a model of 128 tokens can read of a book isn't the book."""

_UNLIMITED: Final = 10**9


class Tokeniser:
    """Token numbers of texts, special tokens included.

    Parameters
    ----------
    backend : tokenizers.Tokenizer
    length : int
        Tokens of one window.
    long : str
        One of `LONG`.
    """

    def __init__(self, backend: Tokenizer, length: int, long: str) -> None:
        self._backend = backend
        self._windows = long == "windows"
        self.length = length
        special = backend.num_special_tokens_to_add(False)
        if length <= special:
            what = f"{length} tokens leave no room for a text beside the {special} special ones"
            raise InputError(what, key="max_length", value=length)
        backend.no_padding()
        backend.enable_truncation(max_length=length)
        self._chars = length * CHARS_A_TOKEN * (WINDOWS_MAX if self._windows else 1)

    def __call__(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """The windows of each text, at least one; lets other threads run meanwhile."""
        found = []
        for encoding in self._backend.encode_batch_fast([text[: self._chars] for text in texts]):
            windows = [encoding.ids]
            if self._windows:
                windows += [more.ids for more in encoding.overflowing[: WINDOWS_MAX - 1]]
            found.append(windows)
        return found


def open_backend(folder: Path, config: Mapping[str, Any]) -> tuple[Tokenizer, int]:
    """The Rust tokenizer of a model's folder, and the tokens it says the model reads.

    tokenizer.json is opened as it is, which spares importing transformers; anything else goes through transformers.

    Raises
    ------
    InputError
        Only a tokenizer in Python comes with the model.
    Exception
        Damaged files: whatever tokenizers and transformers raise.
    """
    stored = folder / "tokenizer.json"
    if stored.is_file() and config.get("model_type") == "bert":
        from tokenizers import Tokenizer

        options = folder / "tokenizer_config.json"
        said = read_object(options).get("model_max_length") if options.is_file() else None
        return Tokenizer.from_file(str(stored)), int(said or _UNLIMITED)
    from transformers import AutoTokenizer

    found: Any = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    if not found.is_fast:
        remedy = "Save it with a tokenizer.json, which transformers' fast tokenizers write"
        raise InputError("its tokenizer is a slow one, in Python", where=folder, key="model", remedy=remedy)
    return found.backend_tokenizer, int(found.model_max_length)
