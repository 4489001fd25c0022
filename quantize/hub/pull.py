"""From a known name to something that can be used: fetched, verified, converted or tried."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_aac.bundle.store import user_bundles_folder
from edge_aac.errors import DataError, InputMissingError, UsageError
from quantize.hub.download import Fetched, amount, fetch, missing_bytes
from quantize.hub.listing import Hub, Listing, list_files
from quantize.hub.registry import BUNDLES, Kind, Registry, Role, Source
from quantize.hub.release import fetch_release
from quantize.hub.space import Need, check_room
from quantize.progress import Log

Finish = Callable[[Mapping[str, Fetched], Log], Path]
# Of a captioner, and of whatever stands alone.
MAIN = "main"
CHECK_TEXT = "a dog barks twice while rain falls"


def pull(
    name: str,
    registry: Registry,
    hub: Hub,
    log: Log,
    *,
    revision: str | None = None,
    output: Path | None = None,
    download_only: bool = False,
) -> Path:
    """Fetch a known name with its parts; make a bundle of what becomes one, try whether anything else loads.

    Args:
        name: name of a model in the registry.
        registry: the known models.
        hub: the server to fetch from, and the cache.
        log: called with what is fetched, under which licence, and each step.
        revision: revision of the model's own repository; its parts keep theirs.
        output: folder of the bundle; by default among the user's bundles, under the name.
        download_only: leave it at the files.

    Returns:
        The bundle; else the file or folder that was fetched.

    Raises:
        UsageError: nothing is known by that name, or there is no bundle for ``output``.
        DeviceError: the hub cannot be reached, the connection or the disk fails, or there is too little room.
        InputMissingError: a repository, revision or file does not exist, or is not for everybody.
        DataError: a file is not what the hub lists, or it does not load or convert.
    """
    source = registry.source(name)
    becomes_bundle = source.kind in BUNDLES and not download_only
    if output is not None and not becomes_bundle:
        raise UsageError("--output is the folder of a bundle, and none is made here: leave it out")
    if source.by_hand:
        raise InputMissingError(
            f"{name} ({source.size}, licence {source.license}) is published at {source.by_hand}, on no hub, and its "
            f"hashes are not known here, so it is not fetched: fetch {', '.join(source.files)} from there yourself"
        )
    if source.address:
        return _release(source, hub, log, revision, download_only)
    listings: dict[str, Listing] = {MAIN: list_files(hub, source, revision)}
    for role, part in registry.parts(source).items():
        listings[role] = list_files(hub, part)
    _announce(listings, hub, log)
    needs = [Need(hub.cache, sum(missing_bytes(hub, listing) for listing in listings.values()), "--cache")]
    finish: Finish = _loads
    if becomes_bundle:
        from quantize.bundles.staging import check_output

        bundle = output or user_bundles_folder() / name
        check_output(bundle)
        needs.append(Need(bundle, sum(listing.size for listing in listings.values()), "--output"))
        # The build-time side is imported now: what is not installed should show before gigabytes are fetched.
        finish = _CONVERTERS[source.kind](name, bundle)
    check_room(needs)
    fetched = {role: fetch(hub, listing, log) for role, listing in listings.items()}
    if download_only:
        for each in fetched.values():
            log(f"{each.listing.source.repo} is in {each.folder}")
        return _place(fetched[MAIN])
    return finish(fetched, log)


def attributions(fetched: Mapping[str, Fetched]) -> tuple[str, ...]:
    """Who made what a bundle is made of, and which files it was: repository, commit, licence, SHA-256."""
    lines = []
    for each in fetched.values():
        listing = each.listing
        lines.append(f"{listing.source.credit}: {listing.source.repo} at {listing.commit}, {listing.license}")
        lines += [f"{listing.source.repo}: {work}" for work in listing.source.contains]
        lines += [f"{listing.source.repo}/{file}: sha256 {digest}" for file, digest in each.sha256.items()]
    return tuple(lines)


def _release(source: Source, hub: Hub, log: Log, revision: str | None, download_only: bool) -> Path:
    """A file of a release; there is one release whose hash is known."""
    if revision is not None:
        raise UsageError(f"{source.repo} is fetched from its release {source.revision}: leave --revision out")
    path = fetch_release(source, hub.cache, hub.waits_s, log) / source.files[0]
    if not download_only:
        from quantize.models.taggers import load_tagger

        load_tagger(path)
        log("it loads")
    return path


def _announce(listings: Mapping[str, Listing], hub: Hub, log: Log) -> None:
    for listing in listings.values():
        source = listing.source
        log(f"{source.repo} at {listing.commit} ({listing.revision}), licence {listing.license}")
        log(f"  {source.credit}")
        for work in source.contains:
            log(f"  {work}")
        if source.note:
            log(f"  note: {source.note}")
        if listing.license != source.license:
            log(f"  warning: the model card states another licence than {source.license}; what it states counts")
        for file in listing.files:
            log(f"  {file.name} ({amount(file.size)})")
    missing = sum(missing_bytes(hub, listing) for listing in listings.values())
    total = sum(listing.size for listing in listings.values())
    log(f"{amount(total)} in all, {amount(missing)} of them still to fetch into {hub.cache}")


def _converter(name: str, bundle: Path) -> Finish:
    from quantize.bundles.convert import Provenance, convert_published

    def convert(fetched: Mapping[str, Fetched], log: Log) -> Path:
        provenance = Provenance(**_origin(name, fetched))
        roles: tuple[Role, Role] = ("text_embedder", "tokenizer")
        instructor, tokenizer = (fetched[role].folder for role in roles)
        return convert_published(fetched[MAIN].folder, instructor, tokenizer, bundle, provenance, log)

    return convert


def _clap_converter(name: str, bundle: Path) -> Finish:
    from quantize.bundles.convert import Provenance
    from quantize.bundles.convert_clap import convert_clap

    def convert(fetched: Mapping[str, Fetched], log: Log) -> Path:
        with _beside(fetched) as folder:
            return convert_clap(folder, bundle, Provenance(**_origin(name, fetched)), log)

    return convert


def _clapcap_converter(name: str, bundle: Path) -> Finish:
    from quantize.bundles.convert import Provenance
    from quantize.bundles.prompted import convert_prompted, prompted_source

    def convert(fetched: Mapping[str, Fetched], log: Log) -> Path:
        with _beside(fetched) as folder:
            source = prompted_source(folder)
            assert source is not None, "the registry fetches the file that it is known by"
            return convert_prompted(source, bundle, Provenance(**_origin(name, fetched)), log)

    return convert


_CONVERTERS: Mapping[Kind, Callable[[str, Path], Finish]] = {
    "captioner": _converter,
    "clap": _clap_converter,
    "clap-2022": _clap_converter,
    "laion-clap": _clap_converter,
    "clapcap": _clapcap_converter,
}


def _origin(name: str, fetched: Mapping[str, Fetched]) -> dict[str, Any]:
    """A bundle's provenance."""
    main = fetched[MAIN].listing
    return {
        "name": name,
        "version": main.commit[:12],
        "license": main.license,
        "attributions": attributions(fetched),
    }


@contextmanager
def _beside(fetched: Mapping[str, Fetched]) -> Iterator[Path]:
    """A folder in which what was fetched lies as its loaders look for it: the parts in folders beside the weights."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in fetched[MAIN].sha256:
            link = folder / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((fetched[MAIN].folder / name).absolute())
        for role, part in fetched.items():
            if role != MAIN:
                (folder / role).symlink_to(part.folder.absolute(), target_is_directory=True)
        yield folder


def _loads(fetched: Mapping[str, Fetched], log: Log) -> Path:
    """Try what becomes no bundle."""
    main = fetched[MAIN]
    {"text-embedder": _try_text_embedder, "tokenizer": _try_tokenizer, "beats": _try_beats}[main.listing.source.kind](
        main
    )
    log("it loads")
    return _place(main)


def _try_text_embedder(fetched: Fetched) -> None:
    import numpy as np

    from quantize.models.instructor import load_instructor_weights

    embedding = load_instructor_weights(fetched.folder).embed([CHECK_TEXT])
    if not np.allclose(np.linalg.norm(embedding, axis=-1), 1.0, atol=1e-3):  # NaN is not close either
        raise DataError(
            f"{fetched.listing.source.repo} embeds a text as something else than a unit vector: do not use it"
        )


def _try_tokenizer(fetched: Fetched) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    source, whole = fetched.listing.source, fetched.folder / "tokenizer.json"
    try:
        if whole.is_file():
            entries = Tokenizer.from_file(str(whole)).get_vocab_size()
        else:
            vocabulary, merges = (str(fetched.folder / file) for file in ("vocab.json", "merges.txt"))
            entries = Tokenizer(BPE.from_file(vocabulary, merges)).get_vocab_size()
    except Exception as error:  # the library raises nothing narrower
        raise DataError(f"the tokenizer of {source.repo} cannot be read ({error}): try another --revision") from error
    if source.vocabulary_size not in {None, entries}:
        raise DataError(
            f"the tokenizer of {source.repo} has {entries} entries, not {source.vocabulary_size}: "
            "try another --revision"
        )


def _try_beats(fetched: Fetched) -> None:
    from quantize.models.checkpoint import load_beats

    load_beats(_place(fetched))


def _place(fetched: Fetched) -> Path:
    """A folder; of BEATs, which is one file, that file."""
    source = fetched.listing.source
    return fetched.folder / source.files[0] if source.kind == "beats" else fetched.folder
