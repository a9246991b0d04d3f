"""Zips from elsewhere: whatever a careless program could be tricked with is refused, in one line, before anything is inflated."""

import pickle
import stat
import struct
import warnings
import zipfile

import pytest

from robolearn.datasets.formats import archive
from robolearn.datasets.formats.archive import fingerprint, open_files, read_json
from robolearn.datasets.formats.registry import open_source
from robolearn.datasets.layout import StoreError


def zipped(path, entries, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on names given twice
        for name, content in entries:
            archive.writestr(name, content)
    return path


def test_a_zip_and_its_directory_hold_the_same(tmp_path):
    (tmp_path / "d" / "b").mkdir(parents=True)
    (tmp_path / "d" / "a.json").write_text('{"x": 1}')
    (tmp_path / "d" / "b" / "c").write_bytes(b"123")
    packed = zipped(tmp_path / "d.zip", [("a.json", '{"x": 1}'), ("b/", b""), ("b/c", b"123")])
    for files in (open_files(tmp_path / "d"), open_files(packed)):
        assert files.names == {"a.json", "b/c"}
        assert files.read("b/c") == b"123"
        assert read_json(files, "a.json") == {"x": 1}
        with pytest.raises(StoreError, match="has no file d"):
            files.read("d")
        with pytest.raises(StoreError, match="b/c has 3 bytes where at most 2 are expected"):
            files.read("b/c", 2)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../x", "leads out"),
        ("a/../../x", "leads out"),
        ("/etc/passwd", "absolute"),
        ("C:/x", "absolute"),
        ("a\\..\\x", "absolute"),
        ("a\nb", "no proper name"),
        ("x" * 5000, "no proper name"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, name, problem):
    source = zipped(tmp_path / "x.zip", [("good", b"1"), (name, b"2")])
    with pytest.raises(StoreError, match=f"no archive to trust: .*{problem}") as caught:
        open_files(source)
    assert "\n" not in str(caught.value)


def test_a_name_cut_at_a_nul_is_refused(tmp_path):
    source = zipped(tmp_path / "x.zip", [("good?bad", b"1")])
    source.write_bytes(source.read_bytes().replace(b"good?bad", b"good\0bad"))
    with pytest.raises(StoreError, match="no proper name"):
        open_files(source)


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/"), ("b/", "b")])
def test_names_given_twice_are_refused(tmp_path, names):
    with pytest.raises(StoreError, match="is there twice"):
        open_files(zipped(tmp_path / "x.zip", [(name, b"") for name in names]))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_special_files_are_refused(tmp_path, kind):
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (kind | 0o777) << 16
    with pytest.raises(StoreError, match="is a link or a special file"):
        open_files(zipped(tmp_path / "x.zip", [(entry, "/etc/passwd")]))


def test_encrypted_entries_are_refused(tmp_path):
    source = zipped(tmp_path / "x.zip", [("a", b"1")])
    content = bytearray(source.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    source.write_bytes(content)
    with pytest.raises(StoreError, match="is encrypted"):
        open_files(source)


def test_an_unknown_method_is_refused(tmp_path):
    source = zipped(tmp_path / "x.zip", [("a", b"1")])
    content = bytearray(source.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = 97
    source.write_bytes(content)
    with pytest.raises(StoreError, match="unknown method 97"):
        open_files(source)


def test_a_bomb_is_refused_by_what_it_declares(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "HARMLESS_BYTES", 1 << 20)
    source = zipped(tmp_path / "x.zip", [("zeros", bytes(3 << 20))])
    with pytest.raises(StoreError, match=r"would grow to 3145728, as zip bombs do .allowed: 200 times"):
        open_files(source)


def test_small_zeros_that_compress_well_are_no_bomb(tmp_path):
    assert open_files(zipped(tmp_path / "x.zip", [("zeros", bytes(3 << 20))])).read("zeros") == bytes(3 << 20)


@pytest.mark.parametrize("claimed", [10, 3 << 20, 1 << 30])
def test_an_entry_that_lies_about_its_size_is_stopped_there(tmp_path, claimed):
    """The declared size is what passes the check; the bytes that come are held to it."""
    source = zipped(tmp_path / "x.zip", [("zeros", bytes(2 << 20))])
    content = bytearray(source.read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, claimed)
    source.write_bytes(content)
    with pytest.raises(StoreError, match=r"zeros|zip bombs") as caught:
        open_files(source).read("zeros")
    assert "\n" not in str(caught.value)


def test_entries_that_share_bytes_are_refused(tmp_path):
    source = zipped(tmp_path / "x.zip", [(name, bytes(5000)) for name in "abcd"], zipfile.ZIP_STORED)
    content = source.read_bytes()
    start = content.index(b"PK\x01\x02")
    directory = bytearray(content[start:])
    place = -1
    while (place := directory.find(b"PK\x01\x02", place + 1)) >= 0:
        struct.pack_into("<I", directory, place + 42, 0)  # every entry is where the first one is
    source.write_bytes(content[:5100] + directory[:-6] + struct.pack("<I", 5100) + directory[-2:])
    with pytest.raises(StoreError, match="share bytes"):
        open_files(source)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04", b"PK\x05\x06" + bytes(10), b"nothing of the kind"])
def test_what_is_no_zip_says_so(tmp_path, content):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(StoreError, match="neither a directory nor a whole zip"):
        open_files(tmp_path / "x.zip")


def test_a_zip_that_is_cut_off_or_unsafe_says_so_when_its_format_is_guessed(tmp_path):
    source = zipped(tmp_path / "x.zip", [("a", b"12345")])
    source.write_bytes(source.read_bytes()[:-10])
    with pytest.raises(StoreError, match="neither a directory nor a whole zip"):
        open_source(source)
    with pytest.raises(StoreError, match="leads out of the archive"):
        open_source(zipped(tmp_path / "y.zip", [("../a", b"12345")]))


def test_a_flipped_bit_is_found(tmp_path):
    source = zipped(tmp_path / "x.zip", [("a", b"12345" * 100)], zipfile.ZIP_STORED)
    content = bytearray(source.read_bytes())
    content[100] ^= 1
    source.write_bytes(content)
    with pytest.raises(StoreError, match="a cannot be read: Bad CRC"):
        open_files(source).read("a")


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"[" * 100_000, b"\xff\xfe", b"1" * 5000])
def test_json_that_is_no_object_is_named(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"x\.json is no JSON"):
        read_json(open_files(tmp_path), "x.json")


def test_a_fingerprint_changes_with_content_and_names(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    first = fingerprint(open_files(tmp_path))
    (tmp_path / "a").write_bytes(b"2")
    second = fingerprint(open_files(tmp_path))
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, fingerprint(open_files(tmp_path))}) == 3


@pytest.mark.parametrize(("name", "content"), [("demo.pkl", b"anything"), ("demo.dat", pickle.dumps([{"observations": 1}]))])
def test_a_file_of_pickles_is_refused_with_the_way_out(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match=r"Python pickles.*save its episodes again"):
        open_source(tmp_path / name)
