"""A file with a line a release: how fast it was on which machine, in ratios that outlive the machine."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge_aac.errors import DataError, DeviceError

Table = Mapping[str, Any]

HISTORY = Path(__file__).parents[1] / "history.csv"
"""The releases' own."""

_PUBLISHED = "published sizes, int8"


def add_line(report: Table, bundle: str, path: Path) -> None:
    """Add the line of a report; a file that is not there begins with a line of names.

    Args:
        report: from :func:`benchmarks.report.making.make_report`.
        bundle: whose numbers they are, of the report's.
        path: CSV file.

    Raises:
        DataError: the file has other columns.
        DeviceError: it cannot be written.
    """
    row = line(report, bundle)
    try:
        if path.exists() and path.stat().st_size:
            with path.open(newline="", encoding="utf-8") as stream:
                held = next(csv.reader(stream), [])
            if held != list(row):
                raise DataError(f"{path} has other columns than a report's line: give another file")
            new = False
        else:
            new = True
        with path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
    except OSError as error:
        raise DeviceError(f"{path} cannot be written ({error.strerror}): give another file") from error


def line(report: Table, bundle: str) -> dict[str, object]:
    """Column → value, empty where it was not measured."""
    machine = report["machine"]
    row: dict[str, object] = {
        "version": report["version"],
        "date": report["date"],
        "machine": f"{machine['processor']}, {machine['cores']} cores",
        "bundle": bundle,
        "note": report["note"],
    }
    for name, value_of in _COLUMNS.items():
        try:
            value = value_of(report["sections"], bundle)
        except (KeyError, StopIteration):  # its section, its way or its point was left out
            value = ""
        row[name] = value
    return row


def _against(way: str, own: str | None = None) -> Callable[[Table, str], object]:
    def of(sections: Table, bundle: str) -> object:
        ratios: Table = sections["against"]["ratios"]
        name = next(name for name in ratios if name.startswith(way))
        return ratios[name][own or bundle]["median"]

    return of


def _share(stage: str) -> Callable[[Table, str], object]:
    def of(sections: Table, bundle: str) -> object:
        fewest = next(iter(sections["limit"]["by_threads"].values()))
        return fewest["bundles"][bundle][stage]["share"]

    return of


def _hop(sections: Table, bundle: str) -> object:
    points = sections["growth"]["bundles"][bundle]["hop_s"]
    at = {point["at"]: point["ms"]["median"] for point in points}
    return round(at[1.0] / at[10.0], 4)


def _sources(sections: Table, bundle: str) -> object:
    points = sections["growth"]["bundles"][bundle]["sources"]["points"]
    return next(point["processor_of_one"]["median"] for point in points if point["at"] == 16)  # noqa: PLR2004


_COLUMNS: dict[str, Callable[[Table, str], object]] = {
    "published_way_over_bundle": _against("(a)"),
    "effb2_trm_over_bundle": _against("(e)"),
    "tagger_mn10_over_encoder": _against("(f) tagger mn10"),
    "published_way_over_published_int8": _against("(a)", _PUBLISHED),
    "torch_over_published_int8": _against("(b)", _PUBLISHED),
    "encode_share_of_limit": _share("encode"),
    "decode_share_of_limit": _share("decode"),
    "window_at_hop_1_s_over_hop_10_s": _hop,
    "16_sources_over_one": _sources,
    "seconds_to_listening": lambda sections, bundle: sections["start"]["seconds"][f"{bundle}: to listening"]["median"],
    "stream_pss_mib": lambda sections, bundle: sections["start"]["memory_mib"][bundle]["pss_mib_late"],
    "processor_s_an_hour_at_hop_2_s": lambda sections, bundle: sections["energy"]["bundles"][bundle]["2"][
        "processor_s_an_hour"
    ]["median"],
}
