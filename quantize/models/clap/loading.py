"""Published weights to CLAP and clapcap."""

from __future__ import annotations

from pathlib import Path

from quantize.models.audio_language.checkpoint_files import CLAP, CLAPCAP, check_window_tables, published_file
from quantize.models.audio_language.gpt2_text import Gpt2Text
from quantize.models.audio_language.language_models import fill_constants, gpt2_config, gpt2_tokenizer
from quantize.models.checkpoint import fit_state, unfilled
from quantize.models.clap.clapcap import Clapcap, ClapcapNetwork, ClapcapSettings, MapperSizes
from quantize.models.clap.microsoft import Clap, ClapNetwork, ClapSettings

CLAP_FILE = "CLAP_weights_2023.pth"
CLAPCAP_FILE = "clapcap_weights_2023.pth"


def load_clap_weights(path: Path) -> Clap:
    """CLAP, its weights mapped from the file.

    Args:
        path: ``CLAP_weights_2023.pth`` or its folder, with ``gpt2/`` beside it.

    Raises:
        InputMissingError: the file, or GPT-2's tokenizer beside it, is not there or cannot be read.
        ConfigError: its settings or sizes cannot be used.
        DataError: it is damaged, holds code, is of another system, or does not fit; keys are named.
    """
    file = published_file(path, [CLAP_FILE], CLAP)
    settings = file.settings(ClapSettings, "config_2023.yml")
    folder = file.part(settings.text_model)
    gpt2 = gpt2_config(folder)
    text = Gpt2Text(gpt2_tokenizer(folder, gpt2.vocab_size), folder)
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
    folder = file.part(settings.text_decoder)
    gpt2 = gpt2_config(folder)
    text = Gpt2Text(gpt2_tokenizer(folder, gpt2.vocab_size), folder)
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
