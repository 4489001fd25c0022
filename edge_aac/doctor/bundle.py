"""The bundle: every file of it is hashed from its bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from edge_aac.doctor.contract import LIMIT_S as CHECK_LIMIT_S
from edge_aac.doctor.contract import Context, Finding, Part

LIMIT_S = 300.0
"""A bundle of the published size holds 5.8 GB, on a memory card."""


def of_each_bundle(
    context: Context, tell: Callable[[str], Iterable[Finding]], limit_s: float = CHECK_LIMIT_S
) -> list[Part]:
    """A part for each bundle of the configuration, with its name where it is an ensemble's.

    Args:
        context: what the check is given.
        tell: what is found of the bundle of a name.
        limit_s: seconds after which a part is ended.
    """
    from edge_aac.bundle.names import bundle_names
    from edge_aac.models.settings import CaptionerSettings

    names = bundle_names(context.settings.get(CaptionerSettings).bundle)
    return [Part(partial(tell, name), name if len(names) > 1 else "", limit_s) for name in names]


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
