"""The bundle: every file of it is hashed from its bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_aac.doctor.contract import Context, Finding, Part

LIMIT_S = 300.0
"""A bundle of the published size holds 5.8 GB, on a memory card."""


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    from edge_aac.models.settings import CaptionerSettings

    names = context.settings.get(CaptionerSettings).bundle
    return [Part(lambda: _hashes(names), limit_s=LIMIT_S)]


def _hashes(names: str) -> Iterator[Finding]:
    """What is found of each bundle, of an ensemble of all of them."""
    from edge_aac.bundle.names import bundle_names

    for name in bundle_names(names):
        yield _hashed(name)


def _hashed(name: str) -> Finding:
    from edge_aac.bundle.store import check_all, open_bundle

    bundle = open_bundle(name)
    check_all(bundle)
    manifest = bundle.manifest
    megabytes = sum(bundle.path(file).stat().st_size for file in manifest.files()) / 1e6
    forms = sorted({f"{form.backend} {form.precision}" for forms in manifest.graphs.values() for form in forms})
    return Finding(
        "ok",
        f"{manifest.name} {manifest.version} ({manifest.kind}): {len(list(manifest.files()))} files of "
        f"{megabytes:.0f} MB have their hashes; graphs for {', '.join(forms)}",
    )
