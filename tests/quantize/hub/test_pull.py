"""`edge-aac pull` as a user calls it: the names it knows, and from a hub on this machine to captions."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub", reason="pull needs huggingface_hub: pip install 'edge-aac[train]'")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402

from edge_aac.bundle.store import open_bundle  # noqa: E402
from edge_aac.errors import ConfigError, DataError, InputMissingError, UsageError  # noqa: E402
from quantize.hub import pull as pull_module  # noqa: E402
from quantize.hub.registry import BUNDLES, load_registry  # noqa: E402
from tests.quantize.hub.hub_server import HubServer, hub_server, sha256  # noqa: E402
from tests.quantize.hub.pull_cases import (  # noqa: E402
    PIECE,
    REGISTRY,
    WEIGHTS,
    Puller,
    closed_port,
    is_one_sentence,
    puller_beside,
)
from tests.system.command import noise, records, run_edge_aac, started_edge_aac, write_wav  # noqa: E402
from tests.waiting import PATIENCE_S

REFERENCE = Path(__file__).parents[4] / "shared" / "reference"


@pytest.fixture
def server() -> Iterator[HubServer]:
    with hub_server() as hub:
        yield hub


@pytest.fixture
def pulling(tmp_path: Path) -> Iterator[Puller]:
    with puller_beside(tmp_path) as puller:
        yield puller


def test_what_becomes_a_bundle_has_a_converter() -> None:
    assert set(pull_module._CONVERTERS) == BUNDLES


def test_shipped_registry_is_whole() -> None:
    registry = load_registry()
    names = {"dcase2023", "instructor-base", "instructor-large", "instructor-xl", "bart-base", "beats"}
    names |= {
        "efficientat-mn04",
        "gpt2",
        "clap-2023",
        "clap-2022",
        "bert-base-uncased",
        "clapcap",
        "laion-clap",
        "pengi",
    }
    assert set(registry.sources) == names
    captioner = registry.source("dcase2023")
    parts = registry.parts(captioner)
    assert parts["text_embedder"].repo == "hkunlp/instructor-xl"
    assert parts["tokenizer"].repo == "facebook/bart-base"
    assert not [name for name in parts["tokenizer"].candidates if name.endswith((".bin", ".safetensors", ".h5"))]
    for source in registry.sources.values():
        assert source.about and source.credit and source.license
        assert not [name for name in source.candidates if name.endswith((".h5", ".msgpack", ".onnx"))]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("kind = ", "kind == "), "not TOML"),
        (('kind = "captioner"', 'kind = "toy"'), "thing.kind"),
        (('about = "words"\n', ""), "words.about"),
        (('"config.json"', '"../config.json"'), "no path inside a repository"),
        (('text_embedder = "words"', 'text_embedder = "pieces"'), "no entry of kind text-embedder"),
        ((', tokenizer = "pieces"', ""), "has the parts"),
        (("vocabulary_size = 97", 'sha256 = { "vocab.json" = "12" }'), "no SHA-256"),
    ],
)
def test_a_wrong_registry_is_refused(change: tuple[str, str], words: str, tmp_path: Path) -> None:
    path = tmp_path / "registry.toml"
    path.write_text(REGISTRY.replace(*change), encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load_registry(path)


def test_a_registry_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="cannot be read"):
        load_registry(tmp_path / "none.toml")


def tiny_tokenizer(folder: Path) -> dict[str, bytes]:
    """Files of a byte-level tokenizer with 97 entries, the first four as BART has them."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=97, special_tokens=special, show_progress=False)
    text = "a dog barks twice while rain falls on the roof and the clock ticks in a quiet room as waves crash far away"
    tokenizer.train_from_iterator([text, text[::-1]] * 4, trainer)
    assert tokenizer.get_vocab_size() == 97
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("left_out", ["", "tokenizer.json"])
def test_a_tokenizer_is_tried(pulling: Puller, tmp_path: Path, left_out: str) -> None:
    files = tiny_tokenizer(tmp_path / "tokenizer")
    files.pop(left_out, None)
    pulling.server.add("somebody/pieces", files, "mit")
    assert (pulling("pieces", download_only=False) / "vocab.json").is_file()
    assert "it loads" in pulling.log_text


@pytest.mark.parametrize(
    ("tokenizer", "words"), [(b'{"version": "1.0"}', "cannot be read"), (None, "has .* entries, not 97")]
)
def test_a_tokenizer_that_is_not_one(pulling: Puller, tmp_path: Path, tokenizer: bytes | None, words: str) -> None:
    files = tiny_tokenizer(tmp_path / "tokenizer")
    smaller = json.loads(files["tokenizer.json"])
    smaller["model"] |= {"vocab": {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4}, "merges": []}
    files["tokenizer.json"] = tokenizer or json.dumps(smaller).encode()
    pulling.server.add("somebody/pieces", files, "mit")
    with pytest.raises(DataError, match=words) as caught:
        pulling("pieces", download_only=False)
    assert is_one_sentence(caught.value)


def test_output_is_for_bundles(pulling: Puller, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--output"):
        pulling("pieces", output=tmp_path / "bundle", download_only=False)
    assert not pulling.server.requests


# The verb, as a user calls it


def environment(server_url: str, tmp_path: Path, **more: str) -> dict[str, str]:
    """Nobody's cache, bundles and token; the hub on this machine."""
    empty = {name: "" for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")}
    places = {"HF_HOME": str(tmp_path / "hf"), "XDG_DATA_HOME": str(tmp_path / "data")}
    return {**empty, **places, "HF_ENDPOINT": server_url, "OMP_NUM_THREADS": "1", **more}


def reference_files(name: str) -> dict[str, bytes]:
    folder = REFERENCE / name
    if not folder.is_dir():
        pytest.skip("the published system's reference models are not beside this checkout")
    files = [path for path in folder.rglob("*") if path.is_file() and "expected" not in path.name]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_known_names_are_listed() -> None:
    listed, bare = run_edge_aac("pull", "--list"), run_edge_aac("pull")
    assert (listed.returncode, bare.returncode) == (0, 0), listed.stderr
    assert listed.stdout == bare.stdout
    for name, source in load_registry().sources.items():
        (line,) = (line for line in listed.stdout.splitlines() if line.startswith(f"{name} "))
        assert source.license in line and source.about in line


def test_an_unknown_name_is_a_usage_error() -> None:
    done = run_edge_aac("pull", "nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert "dcase2023" in done.stderr and len(done.stderr.splitlines()) == 1


def test_no_network_is_one_sentence_and_writes_nothing(tmp_path: Path) -> None:
    done = run_edge_aac("pull", "dcase2023", env=environment(closed_port(), tmp_path))
    assert (done.returncode, done.stdout) == (69, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "HF_ENDPOINT" in done.stderr and "nothing was written" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_corrupted_download_ends_with_its_exit_code(server: HubServer, tmp_path: Path) -> None:
    (name,) = load_registry().source("beats").files
    served = server.add("camenduru/beats", {name: WEIGHTS}, license=None)
    served.files[name].delivered = WEIGHTS[::-1]
    env = environment(server.url, tmp_path)
    done = run_edge_aac("pull", "beats", "--download-only", "--cache", tmp_path / "mine", env=env)
    assert (done.returncode, done.stdout) == (65, "")
    assert "a mirror by a third party" in done.stderr
    assert "Traceback" not in done.stderr and "run the same command again" in done.stderr.splitlines()[-1]
    served.files[name].delivered = None
    again = run_edge_aac("pull", "beats", "--download-only", "--cache", tmp_path / "mine", env=env)
    assert again.returncode == 0, again.stderr
    assert Path(again.stdout.strip()).read_bytes() == WEIGHTS
    assert again.stdout.startswith(str(tmp_path / "mine"))
    assert not (tmp_path / "hf" / "hub").exists()


def test_ctrl_c_leaves_nothing_that_looks_whole(server: HubServer, tmp_path: Path) -> None:
    (name,) = load_registry().source("beats").files
    served = server.add("camenduru/beats", {name: WEIGHTS}, license="mit")
    served.files[name].silent_after = 2 * PIECE
    env = environment(server.url, tmp_path)
    with started_edge_aac("pull", "beats", "--download-only", env=env) as process:
        assert server.reached.wait(PATIENCE_S)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    blobs = tmp_path / "hf" / "hub" / "models--camenduru--beats" / "blobs"
    assert [path.name for path in blobs.iterdir()] == [f"{sha256(WEIGHTS)}.incomplete"]
    assert not list(blobs.parent.glob("snapshots/*/*"))


def test_from_the_hub_to_captions(server: HubServer, tmp_path: Path) -> None:
    captioner = server.add("slseanwu/beats-conformer-bart-audio-captioner", reference_files("captioner_tiny"))
    server.add("hkunlp/instructor-xl", {**reference_files("instructor_tiny"), "tf_model.h5": b"never"})
    server.add("facebook/bart-base", {**tiny_tokenizer(tmp_path / "tokenizer"), "model.safetensors": b"never"})
    weights = captioner.files["pytorch_model.bin"]
    weights.cuts = [2 * PIECE]
    env = environment(server.url, tmp_path)

    pulled = run_edge_aac("pull", "dcase2023", env=env)
    assert pulled.returncode == 0, pulled.stderr
    folder = tmp_path / "data" / "edge-aac" / "bundles" / "dcase2023"
    assert pulled.stdout == f"{folder}\n"
    assert "edge-aac stream --bundle dcase2023" in pulled.stderr
    assert "the connection broke at 524 kB" in pulled.stderr
    assert [get.range for get in server.bodies() if "pytorch_model.bin" in get.path and "slseanwu" in get.path] == [
        None,
        f"bytes={2 * PIECE}-",
    ]
    assert not [
        get.path for get in server.bodies() if "never" in get.path or get.path.endswith((".h5", ".safetensors"))
    ]
    manifest = open_bundle(str(folder)).manifest
    assert (manifest.name, manifest.license, manifest.version) == ("dcase2023", "Apache-2.0", captioner.commit[:12])
    attributions = "\n".join(manifest.attributions)
    for words in (
        captioner.commit,
        sha256(weights.content),
        "hkunlp/instructor-xl at ",
        "facebook/bart-base at ",
        "BEATs",
    ):
        assert words in attributions

    result = run_edge_aac("caption", "--bundle", "dcase2023", write_wav(tmp_path / "noise.wav", noise(10)), env=env)
    assert result.returncode == 0, result.stderr
    assert records(result.stdout)[0]["model"]["bundle"] == "dcase2023"

    server.forget()
    offline = run_edge_aac("pull", "dcase2023", "--download-only", env={**env, "HF_HUB_OFFLINE": "1"})
    assert offline.returncode == 0, offline.stderr
    assert Path(offline.stdout.strip()).name == captioner.commit
    assert not server.requests


def test_a_bundle_never_replaces_something_else(pulling: Puller, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(DataError, match="holds no bundle"):
        pulling(output=mine, download_only=False)
    assert not pulling.server.bodies()


def test_a_text_embedder_is_tried(pulling: Puller) -> None:
    pulling.server.add("somebody/words", reference_files("instructor_tiny"))
    folder = pulling("words", download_only=False)
    assert (folder / "2_Dense" / "config.json").is_file()
    assert "it loads" in pulling.log_text


def test_a_text_embedder_that_is_not_whole(pulling: Puller) -> None:
    with pytest.raises(InputMissingError, match=r"modules\.json"):
        pulling("words", download_only=False)
