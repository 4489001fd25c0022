"""Published weights to CLAP and clapcap."""

from __future__ import annotations

from pathlib import Path

from quantize.models.audio_language.checkpoint_files import (
    CLAP,
    CLAP_2022,
    CLAPCAP,
    CONFIGS,
    check_window_tables,
    published_file,
    read_weights,
    system_of,
)
from quantize.models.audio_language.language_models import bert_of, fill_constants, gpt2_of
from quantize.models.checkpoint import fit_state, unfilled
from quantize.models.clap.clapcap import Clapcap, ClapcapNetwork, ClapcapSettings, MapperSizes
from quantize.models.clap.cnn14 import BLOCKS, Cnn14Sizes
from quantize.models.clap.laion import LaionClap, load_laion_clap
from quantize.models.clap.microsoft import Clap, ClapNetwork, ClapSettings
from quantize.models.clap.microsoft_2022 import Clap2022, Clap2022Network, Clap2022Settings
from quantize.models.weight_files import WEIGHT_FILES

CLAP_FILE, CLAP_2022_FILE = "CLAP_weights_2023.pth", "CLAP_weights_2022.pth"
CLAPCAP_FILE = "clapcap_weights_2023.pth"


def load_any_clap(path: Path) -> Clap | Clap2022 | LaionClap:
    """Microsoft's CLAP or LAION's, told apart by their keys; each as its own loader has it.

    Args:
        path: a file of Microsoft's; or a folder with either, or a file of LAION's in it. Of a folder with both years'
            that of 2023 is taken.

    Raises:
        InputMissingError, ConfigError, DataError: as :func:`load_clap_weights`, :func:`load_clap_2022_weights` and
            :func:`quantize.models.clap.laion.load_laion_clap`.
    """
    folder = path.parent if path.name in WEIGHT_FILES else path
    names = (*WEIGHT_FILES, *(f"{name}.index.json" for name in WEIGHT_FILES))
    if any((folder / name).is_file() for name in names) and not _holds(folder, CLAP_FILE, CLAP_2022_FILE):
        return load_laion_clap(folder)
    if path.is_dir():
        return load_clap_2022_weights(path) if _only_2022(path) else load_clap_weights(path)
    state = read_weights(path)
    return load_clap_2022_weights(path) if system_of(state) == CLAP_2022 else load_clap_weights(path)


def _holds(folder: Path, *names: str) -> bool:
    return any((folder / place / name).is_file() for name in names for place in ("", CONFIGS))


def _only_2022(folder: Path) -> bool:
    return _holds(folder, CLAP_2022_FILE) and not _holds(folder, CLAP_FILE)


def load_clap_2022_weights(path: Path) -> Clap2022:
    """Microsoft's CLAP of 2022, its weights mapped from the file.

    Args:
        path: ``CLAP_weights_2022.pth`` or its folder, with ``bert-base-uncased/`` beside it.

    Raises:
        InputMissingError: the file, or BERT's tokenizer beside it, is not there or cannot be read.
        ConfigError: its settings or sizes cannot be used.
        DataError: it is damaged, holds code, is of another system, or does not fit; keys are named.
    """
    file = published_file(path, [CLAP_2022_FILE], CLAP_2022)
    settings = file.settings(Clap2022Settings, "config_2022.yml")
    folder = file.part(settings.text_model)
    bert, tokenizer = bert_of(folder)
    base = "audio_encoder.base."
    sizes = Cnn14Sizes(
        fft=settings.window_size,
        hop=settings.hop_size,
        mel_bins=file.size(f"{base}bn0.weight", 0),
        widths=tuple(file.size(f"{base}conv_block{number}.conv1.weight", 0) for number in range(1, BLOCKS + 1)),
        out_dim=file.size(f"{base}fc1.weight", 0),
        classes=file.size(f"{base}fc_audioset.weight", 0),
    )
    dim = file.size("audio_encoder.projection.linear2.weight", 0)
    network = unfilled(lambda: Clap2022Network(sizes, bert, dim), file.path)
    # The pooler was trained for another task; CLAP reads the first state before it.
    pooler = "caption_encoder.base.pooler."
    fit_state(network, {name: kept for name, kept in file.state.items() if not name.startswith(pooler)}, file.path)
    fill_constants(network, file.path)
    return Clap2022(network.eval().requires_grad_(False), tokenizer, settings)


def load_clap_weights(path: Path) -> Clap:
    """Microsoft's CLAP, its weights mapped from the file.

    Args:
        path: ``CLAP_weights_2023.pth`` or its folder, with ``gpt2/`` beside it.

    Raises:
        InputMissingError: the file, or GPT-2's tokenizer beside it, is not there or cannot be read.
        ConfigError: its settings or sizes cannot be used.
        DataError: it is damaged, holds code, is of another system, or does not fit; keys are named.
    """
    file = published_file(path, [CLAP_FILE], CLAP)
    settings = file.settings(ClapSettings, "config_2023.yml")
    gpt2, text = gpt2_of(file.part(settings.text_model))
    htsat, dim = file.htsat_config(), file.size("audio_encoder.projection.linear2.weight", 0)
    network = unfilled(lambda: ClapNetwork(htsat, gpt2, dim), file.path)
    fit_state(network, check_window_tables(network, file), file.path)
    fill_constants(network, file.path)
    return Clap(network.eval().requires_grad_(False), text, settings)


def load_clapcap_weights(path: Path) -> Clapcap:
    """clapcap, its weights mapped from the file.

    Args:
        path: ``clapcap_weights_2023.pth`` or its folder, with ``gpt2/`` beside it.

    Raises:
        InputMissingError, ConfigError, DataError: as :func:`load_clap_weights`.
    """
    file = published_file(path, [CLAPCAP_FILE], CLAPCAP)
    settings = file.settings(ClapcapSettings, "config_clapcap.yml")
    gpt2, text = gpt2_of(file.part(settings.text_decoder))
    htsat, dim = file.htsat_config(), file.size("clap.projection.linear2.weight", 0)
    mapper = MapperSizes(
        length=file.size("clap_project.linear.weight", 0) // gpt2.n_embd,
        prefix=file.size("clap_project.prefix_const", 0),
        layers=file.layers("clap_project.transformer.layers."),
    )
    network = unfilled(lambda: ClapcapNetwork(htsat, dim, mapper, gpt2), file.path)
    fit_state(network, check_window_tables(network, file), file.path)
    network.gpt.lm_head.weight = network.gpt.transformer.wte.weight
    fill_constants(network, file.path)
    return Clapcap(network.eval().requires_grad_(False), text, settings)
