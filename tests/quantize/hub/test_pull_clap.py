"""Systems by name: CLAP to a bundle that labels files, clapcap to one that captions, Pengi told where it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_aac.bundle.store import check_all, open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import ConfigError, DataError, InputMissingError
from edge_aac.models.clip_encoder import ClipEncoder
from edge_aac.models.prompted import Prompted
from quantize.hub.registry import load_registry
from tests.quantize.hub.pull_cases import Puller, puller_beside
from tests.quantize.hub.test_pull import reference_files
from tests.quantize.models.clap_2022_layout import FILE, write_clap_2022
from tests.system.command import run_edge_aac

REGISTRY = """
[clap]
kind = "clap"
about = "CLAP"
repo = "somebody/clap"
license = "MS-PL"
credit = "Somebody, CLAP, 2023"
files = ["CLAP_weights_2023.pth"]
optional = ["htsat_config.json", "configs/config_2023.yml"]
parts = { gpt2 = "gpt2" }

[clapcap]
kind = "clapcap"
about = "clapcap"
repo = "somebody/clapcap"
license = "MS-PL"
credit = "Somebody, clapcap, 2023"
files = ["clapcap_weights_2023.pth"]
optional = ["htsat_config.json", "configs/config_clapcap.yml"]
parts = { gpt2 = "gpt2" }

[clap-2022]
kind = "clap-2022"
about = "CLAP of 2022"
repo = "somebody/clap-2022"
license = "MS-PL"
credit = "Somebody, CLAP, 2022"
files = ["CLAP_weights_2022.pth"]
optional = ["config_2022.yml"]
parts = { bert-base-uncased = "bert" }

[bert]
kind = "tokenizer"
about = "BERT's tokenizer"
repo = "somebody/bert"
license = "Apache-2.0"
credit = "Somebody, BERT, 2019"
files = ["config.json", "tokenizer.json"]

[pengi]
kind = "pengi"
about = "Pengi"
repo = "somewhere"
license = "unknown"
credit = "Somebody, Pengi, 2023"
size = "1.31 GB"
files = ["base.pth"]
by_hand = "https://example.org/pengi"

[gpt2]
kind = "tokenizer"
about = "GPT-2's tokenizer"
repo = "somebody/gpt2"
license = "MIT"
credit = "Somebody, GPT-2, 2019"
files = ["config.json"]
optional = ["tokenizer.json", "vocab.json", "merges.txt"]
"""


@pytest.fixture
def pulling(tmp_path: Path) -> Iterator[Puller]:
    with puller_beside(tmp_path, REGISTRY) as puller:
        yield puller


def _served(pulling: Puller, repo: str, reference: str) -> None:
    """The reference's weights and sizes in one repository, its GPT-2 in another."""
    files = reference_files(reference)
    beside = {name.removeprefix("gpt2/"): content for name, content in files.items() if name.startswith("gpt2/")}
    wanted = {name: content for name, content in files.items() if name.endswith((".pth", "htsat_config.json", ".yml"))}
    pulling.server.add(repo, wanted, license="ms-pl")
    pulling.server.add("somebody/gpt2", beside, license="mit")


def test_from_the_hub_to_a_bundle_that_labels(pulling: Puller, tmp_path: Path) -> None:
    _served(pulling, "somebody/clap", "clap_tiny")
    place = pulling("clap", download_only=False, output=tmp_path / "bundle")
    bundle = open_bundle(str(place))
    check_all(bundle)
    assert bundle.manifest.license == "MS-PL" and bundle.manifest.kind == "dual_encoder"
    attributions = "\n".join(bundle.manifest.attributions)
    assert "somebody/clap/CLAP_weights_2023.pth: sha256 " in attributions and "somebody/gpt2 at " in attributions
    embeddings = ClipEncoder(bundle, EngineOptions("onnxruntime", 1)).embed(["rain"])
    assert np.linalg.norm(embeddings) == pytest.approx(1.0, abs=1e-4)


def test_the_one_of_2022_becomes_a_bundle(pulling: Puller, tmp_path: Path) -> None:
    folder = write_clap_2022(tmp_path / "published", text_model="bert-base-uncased")
    files = {name: (folder / name).read_bytes() for name in (FILE, "config_2022.yml")}
    parts = {name: (folder / "bert-small" / name).read_bytes() for name in ("config.json", "tokenizer.json")}
    pulling.server.add("somebody/clap-2022", files, license="ms-pl")
    pulling.server.add("somebody/bert", parts, license="apache-2.0")
    bundle = open_bundle(str(pulling("clap-2022", download_only=False, output=tmp_path / "bundle")))
    check_all(bundle)
    assert bundle.manifest.kind == "dual_encoder" and "somebody/bert at " in "\n".join(bundle.manifest.attributions)
    embeddings = ClipEncoder(bundle, EngineOptions("onnxruntime", 1)).embed(["rain"])
    assert np.linalg.norm(embeddings) == pytest.approx(1.0, abs=1e-4)


def test_clapcap_from_the_hub_to_a_bundle_that_captions(pulling: Puller, tmp_path: Path) -> None:
    _served(pulling, "somebody/clapcap", "clapcap_tiny")
    place = pulling("clapcap", download_only=False, output=tmp_path / "bundle")
    assert "licence MS-PL" in pulling.log_text and "in all" in pulling.log_text
    bundle = open_bundle(str(place))
    check_all(bundle)
    assert (bundle.manifest.license, bundle.manifest.kind, bundle.manifest.name) == ("MS-PL", "prompted", "clapcap")
    attributions = "\n".join(bundle.manifest.attributions)
    assert "somebody/clapcap/clapcap_weights_2023.pth: sha256 " in attributions and "somebody/gpt2 at " in attributions
    model = Prompted(bundle, EngineOptions("onnxruntime", 1))
    noise = np.random.default_rng(0).normal(0.0, 0.1, model.manifest.clip.samples).astype(np.float32)
    assert len(model.answer(model.hear(noise), "").texts) == model.manifest.decoding.beams


def test_clapcap_can_be_fetched_alone(pulling: Puller) -> None:
    _served(pulling, "somebody/clapcap", "clapcap_tiny")
    place = pulling("clapcap", download_only=True)
    assert (place / "clapcap_weights_2023.pth").is_file()


def test_weights_of_another_system(pulling: Puller, tmp_path: Path) -> None:
    _served(pulling, "somebody/clapcap", "clapcap_tiny")
    files = reference_files("clap_tiny")
    content = next(files[name] for name in files if name.endswith(".pth"))
    pulling.server.add("somebody/clapcap", {"clapcap_weights_2023.pth": content})
    with pytest.raises(DataError, match="is CLAP of 2023"):
        pulling("clapcap", download_only=False, output=tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_what_is_on_no_hub_is_not_fetched(pulling: Puller) -> None:
    with pytest.raises(InputMissingError, match=r"1\.31 GB.*https://example\.org/pengi.*fetch base\.pth"):
        pulling("pengi")
    assert not pulling.server.requests


def test_the_shipped_entries() -> None:
    sources = load_registry().sources
    for name in ("clap-2023", "clap-2022", "clapcap", "laion-clap", "pengi"):
        assert sources[name].license and sources[name].credit
        assert not sources[name].sha256, "no hash was seen"
    assert load_registry().parts(sources["clap-2023"])["gpt2"].vocabulary_size == 50_257
    assert load_registry().parts(sources["clap-2022"])["bert-base-uncased"].vocabulary_size == 30_522
    done = run_edge_aac("pull", "pengi")
    assert (done.returncode, done.stdout) == (66, "") and "zenodo.org/records/8387083" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('parts = { gpt2 = "gpt2" }\n\n[clapcap]', "\n[clapcap]"), "has the parts gpt2"),
        (('by_hand = "https://example.org/pengi"', 'by_hand = "x"\naddress = "y"'), "pin the SHA-256"),
        (('parts = { gpt2 = "gpt2" }', 'parts = { gpt2 = "pengi" }'), "no entry of kind tokenizer"),
    ],
)
def test_a_wrong_entry_is_refused(change: tuple[str, str], words: str, tmp_path: Path) -> None:
    path = tmp_path / "registry.toml"
    path.write_text(REGISTRY.replace(*change), encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load_registry(path)
