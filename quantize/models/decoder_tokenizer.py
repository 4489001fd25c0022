"""The tokenizer whose ids a captioner as published speaks, in whichever of its layouts it lies there."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE, WordLevel

from edge_aac.errors import DataError, InputMissingError
from edge_aac.models.tokens import load_tokenizer
from quantize.models.config import CaptionerConfig
from quantize.progress import Log

BART_VOCABULARY = 50265
NUMBERED: Final = "numbered"


def decoder_tokenizer_of(
    given: Path | Literal["numbered"] | None, captioner: Path, config: CaptionerConfig, log: Log
) -> Tokenizer:
    """The tokenizer whose ids the decoder speaks.

    Raises:
        InputMissingError: none was given or found.
        DataError: it cannot be read, or has another number of tokens than the decoder.
    """
    size = config.decoder.vocab_size
    beside = (captioner / name for name in ("tokenizer.json", "vocab.json") if (captioner / name).is_file())
    chosen = next(beside, None) if given is None else given
    if chosen is None:
        if size == BART_VOCABULARY:
            raise InputMissingError(
                f"{captioner} comes without its tokenizer, that of facebook/bart-base: fetch it with "
                "`edge-aac pull bart-base` and give the folder that it prints with --tokenizer"
            )
        log(
            f"no tokenizer lies beside the weights, and {size} tokens are none that is known: captions will be token "
            "numbers; --tokenizer gives them words"
        )
        chosen = NUMBERED
    if not isinstance(chosen, Path):
        decoder = config.decoder
        return numbered_tokenizer(size, {decoder.start_token_id, decoder.eos_token_id, decoder.pad_token_id})
    tokenizer = _read_tokenizer(chosen)
    if tokenizer.get_vocab_size() != size:
        raise DataError(
            f"the tokenizer {chosen} has {tokenizer.get_vocab_size()} tokens, the decoder {size}: "
            "give the decoder's own"
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _read_tokenizer(path: Path) -> Tokenizer:
    """``tokenizer.json``, or the older pair ``vocab.json`` and ``merges.txt`` of a byte-level BPE."""
    if not path.exists():
        raise InputMissingError(f"there is no {path}: correct --tokenizer")
    folder = path if path.is_dir() else path.parent
    whole = folder / "tokenizer.json" if path.is_dir() or path.name == "vocab.json" else path
    if whole.is_file():
        return load_tokenizer(whole)
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    if not vocabulary.is_file() or not merges.is_file():
        raise InputMissingError(
            f"{path} has neither tokenizer.json nor vocab.json with merges.txt: correct --tokenizer"
        )
    try:
        tokenizer = Tokenizer(BPE.from_file(str(vocabulary), str(merges)))
    except Exception as error:  # tokenizers raises plain Exception
        raise DataError(f"cannot read the tokenizer in {folder}: {error}") from error
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = [AddedToken(token, special=True) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    # BART's mask takes the space before it.
    tokenizer.add_special_tokens([*specials, AddedToken("<mask>", lstrip=True, special=True)])
    return tokenizer


def numbered_tokenizer(size: int, special_ids: set[int]) -> Tokenizer:
    """Token 17 is the word "token17": for models with random weights, which have no words."""
    specials = {0, *special_ids}
    names = {f"<{i}>" if i in specials else f"token{i}": i for i in range(size)}
    tokenizer = Tokenizer(WordLevel(names, unk_token="<0>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([f"<{i}>" for i in sorted(specials)])
    return tokenizer
