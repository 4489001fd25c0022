"""Sound files out of Debian packages, and out of the archives that games keep theirs in (ZIP under any name, WAD)."""

from __future__ import annotations

import io
import struct
import subprocess
import tarfile
import wave
import zipfile
from pathlib import Path, PurePosixPath

from edge_aac.errors import InputMissingError

SUFFIXES = frozenset(
    {
        *(".aif", ".aiff", ".au", ".flac", ".gsm", ".mp3", ".oga", ".ogg", ".opus", ".snd", ".voc", ".w64", ".wav"),
        *(".it", ".mod", ".s3m", ".xm"),
    }
)
ZIPPED = frozenset({".jar", ".love", ".odp", ".pk3", ".pk4", ".sb", ".wz", ".zip"})
_WAD = ".wad"
_LARGEST_MEMBER = 256 * 2**20
_DMX_HEADER, _DMX_SOUND, _DMX_PAD = 8, 3, 16


def unpack_sounds(package: Path, tree: Path) -> None:
    """Take the sounds, the archives and the copyright files out of a package, and the sounds out of the archives.

    What lies in an archive is put into a folder of the archive's name beside it. Links are left out.

    Args:
        package: a ``.deb``.
        tree: folder that is filled.

    Raises:
        InputMissingError: dpkg-deb is not installed, or it cannot read the package.
    """
    try:
        process = subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise InputMissingError("dpkg-deb is not installed: this works on Debian and its relatives") from error
    assert process.stdout is not None
    with process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as content:
                for member in content:
                    path = PurePosixPath(member.name)
                    if member.isfile() and _wanted(path) and (stream := content.extractfile(member)) is not None:
                        _put(tree, path, stream.read())
        except tarfile.TarError as error:
            process.kill()
            raise InputMissingError(f"{package.name} cannot be unpacked ({error}): download it again") from error
    for archive in [path for path in tree.rglob("*") if path.suffix.lower() in ZIPPED | {_WAD} and path.is_file()]:
        content_of = _wad_sounds if archive.suffix.lower() == _WAD else _zipped_sounds
        for inside, data in content_of(archive.read_bytes()).items():
            _put(tree, PurePosixPath(*archive.relative_to(tree).parts, "inside", *PurePosixPath(inside).parts), data)


def _wanted(path: PurePosixPath) -> bool:
    return path.suffix.lower() in SUFFIXES | ZIPPED | {_WAD} or path.name == "copyright"


def _put(tree: Path, path: PurePosixPath, data: bytes) -> None:
    parts = [part for part in path.parts if part not in ("/", ".", "..")]
    # A file and a folder of one name cannot lie side by side.
    target = tree.joinpath(
        *[f"{part}.d" if (tree.joinpath(*parts[: at + 1])).is_file() else part for at, part in enumerate(parts[:-1])],
        parts[-1],
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def _zipped_sounds(data: bytes) -> dict[str, bytes]:
    """Sound files of a ZIP archive; none where it is no such archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {
                entry.filename: archive.read(entry)
                for entry in archive.infolist()
                if PurePosixPath(entry.filename).suffix.lower() in SUFFIXES and entry.file_size <= _LARGEST_MEMBER
            }
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return {}


def _wad_sounds(data: bytes) -> dict[str, bytes]:
    """Sounds of a WAD, as WAV files: its lumps named DS…, each 8-bit samples behind their rate and number.

    The format is Doom's: a directory of (offset, size, name), and in a sound the words 3, rate, number of samples; the
    first and last 16 samples are padding.
    """
    if data[:4] not in (b"IWAD", b"PWAD"):
        return {}
    count, directory = struct.unpack_from("<ii", data, 4)
    found = {}
    for index in range(count):
        offset, size, raw = struct.unpack_from("<ii8s", data, directory + 16 * index)
        name = raw.rstrip(b"\0").decode("ascii", "replace")
        if not name.startswith("DS") or size < _DMX_HEADER:
            continue
        kind, rate, samples = struct.unpack_from("<HHI", data, offset)
        content = data[offset + _DMX_HEADER + _DMX_PAD : offset + _DMX_HEADER + min(samples, size) - _DMX_PAD]
        if kind == _DMX_SOUND and rate and content:
            written = io.BytesIO()
            with wave.open(written, "wb") as sound:
                sound.setparams((1, 1, rate, 0, "NONE", ""))
                sound.writeframes(content)
            found[f"{name}.wav"] = written.getvalue()
    return found
