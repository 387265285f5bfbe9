"""Sets behind a URL, against a real server: by ranges, tried again, and never half read."""

import io
import re
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import lowres
from images import contents
from lowres.cli import main
from lowres.errors import ImageError, MissingExtraError, SourceError
from lowres.formats import open_source
from lowres.formats.containers import remote
from lowres.formats.containers.remote import Remote, url_of
from lowres.formats.url import UrlSource
from lowres.reading import Reading
from lowres.store.build import build
from lowres.testing import SourceContract
from packing import pack

MemoryFileSystem = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem
pytest.importorskip("aiohttp")


class Server(SimpleHTTPRequestHandler):
    """Serves a folder by ranges; what it does wrong is in the attributes of its class."""

    ranges, failures, cut, requests = True, 0, 0, []

    def send_head(self):
        kind = type(self)
        kind.requests.append((self.path, self.headers.get("Range")))
        if self.command == "GET" and kind.failures > 0 and not self.path.endswith("/"):
            kind.failures -= 1
            self.send_error(503)
            return None
        path = Path(self.translate_path(self.path))
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not asked or not kind.ranges or not path.is_file():
            return super().send_head()
        data = path.read_bytes()
        first, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
        if first >= len(data):
            self.send_error(416)
            return None
        part = data[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if kind.cut > 0:  # the connection breaks in the middle
            kind.cut -= 1
            self.close_connection = True
            part = part[: len(part) // 2]
        return io.BytesIO(part)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "PAUSES_S", (0.0, 0.0, 0.0))
    root = tmp_path / "served"
    root.mkdir()
    handler = type("Handler", (Server,), {"requests": []})
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *a, **k: handler(*a, directory=str(root), **k)
    ) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        handler.root, handler.url = root, f"http://127.0.0.1:{running.server_port}"
        yield handler
        running.shutdown()
        thread.join()


@pytest.fixture
def files(source):
    return {f"set/{p.relative_to(source)}": p.read_bytes() for p in source.rglob("*.jpg")}


def packed(server, files, name):
    pack(server.root / name, files)
    return Path(f"{server.url}/{name}")


class TestZipByUrl(SourceContract):
    @pytest.fixture
    def opened(self, server, files):
        return open_source(packed(server, files, "set.zip"))


class TestTarByUrl(SourceContract):
    @pytest.fixture
    def opened(self, server, files):
        return open_source(packed(server, files, "set.tar"))


class TestFolderByUrl(SourceContract):
    @pytest.fixture
    def opened(self, server, source):
        (server.root / "set").symlink_to(source)
        return open_source(Path(f"{server.url}/set"))


@pytest.mark.full
@pytest.mark.parametrize("name", ["set.zip", "deflated.zip", "set.tar", "set"])
def test_a_store_by_url_is_that_of_the_disk(server, source, files, tmp_path, name):
    if name == "set":
        (server.root / "set").symlink_to(source)
        url = Path(f"{server.url}/set")
    else:
        url = packed(server, files, name)
    options = lowres.BuildOptions(size=8)
    manifest = build(url, tmp_path / "one", options)
    assert manifest.source["name"] == name
    build(source, tmp_path / "other", options)
    one, other = contents(tmp_path / "one"), contents(tmp_path / "other")
    assert one.pop("manifest.json") != other.pop("manifest.json")
    assert one == other
    asked = [span for path, span in server.requests if path.endswith(name) and span]
    assert len(asked) >= 36 or name == "set", "by ranges"


def test_broken_connections_and_a_busy_server(server, files):
    source = open_source(packed(server, files, "set.zip"))
    entries = source.index().splits["train"]
    expected = [source.read(entry) for entry in entries]
    server.failures, server.cut = 2, 0
    assert source.read(entries[0]) == expected[0]
    server.cut = 2
    assert source.read(entries[1]) == expected[1]
    server.failures = 99
    with pytest.raises(SourceError, match=r"set\.zip: .* cannot be read: .*503"):
        source.read(entries[2])
    server.failures, server.cut = 0, 99
    with pytest.raises(SourceError, match=r"set\.zip: .* cannot be read: "):
        source.read(entries[2])
    server.cut = 0
    data = (server.root / "set.zip").read_bytes()
    (server.root / "set.zip").write_bytes(data[: entries[2].offset + 20])
    with pytest.raises((SourceError, ImageError), match=r"cannot be read|damaged"):
        source.read(entries[2])


def test_servers_and_sets_that_cannot_be_read(server, files, source):
    with pytest.raises(SourceError, match=r"none\.zip cannot be read: FileNotFoundError"):
        open_source(Path(f"{server.url}/none.zip")).index()
    url = packed(server, files, "set.zip")
    server.ranges = False
    with pytest.raises(SourceError, match="the server sends whole files"):
        open_source(url).index()
    server.ranges = True
    with pytest.raises(SourceError, match="reads tables on disk only: download it"):
        open_source(Path(f"{server.url}/x.csv"), Reading(labels="label")).index()
    (server.root / "flat").mkdir()
    (server.root / "flat" / "1.jpg").write_bytes(files["set/train/ant/00.jpg"])
    flat = Path(f"{server.url}/flat")
    with pytest.raises(SourceError, match="in no class folders"):
        open_source(flat).index()
    assert len(open_source(flat, Reading(unlabelled=True)).index().splits["train"]) == 1
    with pytest.raises(SourceError, match=r"nosuch://x/y.zip cannot be read: Protocol not known"):
        open_source(Path("nosuch://x/y.zip")).index()


def test_other_schemes_by_fsspec(files, tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    for name, data in files.items():
        memory.pipe(f"/bucket/{name}", data)
    index = open_source(Path("memory://bucket/set")).index()
    assert (index.layout, len(index.splits["train"])) == ("split/class by URL", 24)
    memory.pipe("/bucket/set.zip", pack(tmp_path / "set.zip", files).read_bytes())
    source = open_source(Path("memory://bucket/set.zip"))
    assert source.index().digest() == index.digest()
    memory.pipe("/bucket/set.tar", pack(tmp_path / "set.tar", files).read_bytes())
    local = pack(tmp_path / "set.zip", files)
    for url in (
        "memory://bucket/set.tar",
        "zip://set::memory://bucket/set.zip",
        "tar://set::memory://bucket/set.tar",
        f"zip://::{local}",
        f"zip://set::file://{local}",
        f"file://{local}",
    ):
        source = open_source(Path(url))
        assert source.index().digest() == index.digest(), url
        entry = source.index().splits["train"][0]
        assert source.read(entry) == files["set/train/ant/00.jpg"], url
    memory.rm("/bucket", recursive=True)


def test_an_archive_without_the_url_that_it_is_in(tmp_path):
    with pytest.raises(SourceError, match=r"names no archive: give the path .* zip://FOLDER::URL"):
        open_source(Path(f"zip://{tmp_path}/set.zip")).index()


@pytest.mark.parametrize(("error", "tries"), [(RuntimeError, 1), (ConnectionError, 4)])
def test_whatever_a_package_raises(error, tries, monkeypatch):
    monkeypatch.setattr(remote, "PAUSES_S", (0.0, 0.0, 0.0))
    asked = []

    def fails(_):
        asked.append(1)
        raise error("no such luck")

    opened = Remote("memory://bucket/set")
    monkeypatch.setattr(opened._files, "find", fails)
    with pytest.raises(SourceError, match=f"cannot be read: {error.__name__}: no such luck"):
        opened.walk("/bucket/set")
    assert len(asked) == tries


def test_urls_are_told_from_paths(tmp_path, monkeypatch):
    assert url_of(Path("https://a.org/b/c.zip")) == "https://a.org/b/c.zip"
    assert url_of(Path("s3://bucket/set")) == "s3://bucket/set"
    for url in ("file:///data/set", "zip://set::s3://bucket/set.zip", "zip://::/data/set.zip"):
        assert url_of(Path(url)) == url
    for path in ("set", "/data/set", "C:/set", "a:b", "./https:/x"):
        assert url_of(Path(path)) is None or path == "./https:/x"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd:" / "set").mkdir(parents=True)
    assert url_of(Path("odd:/set")) is None
    assert not UrlSource.recognises(tmp_path)


@pytest.mark.parametrize(
    ("url", "package"),
    [
        ("gs://bucket/set.zip", "gcsfs"),
        ("gcs://bucket/set", "gcsfs"),
        ("s3://bucket/set", "s3fs"),
        ("zip://set::s3://bucket/set.zip", "s3fs"),
        ("hf://datasets/owner/name/set.zip", "huggingface_hub"),
        ("abfs://container/set", "adlfs"),
    ],
)
def test_a_scheme_whose_package_is_missing_names_the_command(url, package, monkeypatch):
    from fsspec.registry import _registry

    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    for scheme in ("gs", "gcs", "s3", "hf", "abfs"):  # what other tests have loaded
        monkeypatch.delitem(_registry, scheme, raising=False)
    words = (
        f"cannot be read: it needs {package}, which is not installed; run: pip install {package}$"
    )
    with pytest.raises(MissingExtraError, match=words):
        open_source(Path(url)).index()


def test_a_package_of_a_scheme_that_cannot_be_imported(monkeypatch):
    def fails(_):
        raise ImportError("gcsfs needs a newer library")

    monkeypatch.setattr("fsspec.core.url_to_fs", fails)
    with pytest.raises(MissingExtraError, match="set cannot be read: gcsfs needs a newer library"):
        Remote("gs://bucket/set")


class StandIn(MemoryFileSystem):
    """A bucket in memory, under the scheme of a service whose package is not needed for it."""

    store, pseudo_dirs, cachable = {}, [""], False

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.partition("://")[2] or path)


@pytest.mark.full
@pytest.mark.parametrize("folder", ["gs://bucket/deep/set", "hf://datasets/owner/name/set"])
def test_sources_of_buckets_and_of_the_hub(folder, files, source, tmp_path, monkeypatch):
    from fsspec.registry import _registry

    scheme = folder.partition(":")[0]
    bucket = type("Bucket", (StandIn,), {"protocol": scheme, "store": {}, "pseudo_dirs": [""]})
    monkeypatch.setitem(_registry, scheme, bucket)
    place = folder.removesuffix("/set")
    for name, data in files.items():
        bucket().pipe(f"{place}/{name}", data)
    for name in ("set.zip", "set.tar"):
        bucket().pipe(f"{place}/{name}", pack(tmp_path / name, files).read_bytes())
    options = lowres.BuildOptions(size=8)
    build(source, tmp_path / "disk", options)
    expected = contents(tmp_path / "disk")
    del expected["manifest.json"]
    for number, url in enumerate((folder, f"{folder}.zip", f"{folder}.tar")):
        opened = open_source(Path(url))
        entry = opened.index().splits["train"][0]
        assert opened.read(entry) == files["set/train/ant/00.jpg"]
        build(Path(url), tmp_path / str(number), options)
        made = contents(tmp_path / str(number))
        del made["manifest.json"]
        assert made == expected, url
    with pytest.raises(SourceError, match=r"none\.zip cannot be read: FileNotFoundError"):
        open_source(Path(f"{place}/none.zip")).index()


@pytest.mark.full
def test_a_bucket(files, tmp_path, monkeypatch):
    """S3, against moto's server."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "any"),
        ("AWS_SECRET_ACCESS_KEY", "any"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    try:
        import fsspec

        bucket = fsspec.filesystem("s3")
        bucket.mkdir("bucket")
        for name, data in files.items():
            bucket.pipe(f"bucket/{name}", data)
        bucket.pipe("bucket/set.zip", pack(tmp_path / "set.zip", files).read_bytes())
        folder, archive = (open_source(Path(f"s3://bucket/set{end}")) for end in ("", ".zip"))
        index = folder.index()
        assert index.digest() == archive.index().digest()
        entry = index.splits["train"][0]
        assert folder.read(entry) == files["set/train/ant/00.jpg"]
        assert archive.read(archive.index().splits["train"][0]) == folder.read(entry)
        assert folder.stamp(entry)
        with pytest.raises(SourceError, match="cannot be read: FileNotFoundError"):
            open_source(Path("s3://bucket/none.zip")).index()
    finally:
        running.stop()


@pytest.mark.full
def test_on_the_command_line(server, files, tmp_path, capsys):
    url = f"{server.url}/set.zip"
    packed(server, files, "set.zip")
    store, elsewhere = str(tmp_path / "store"), f"{server.url}/store"
    for words, status, said in (
        (["info", url], 0, "classes: 4, ant, bee, cat, dog"),
        (["build", url, store, "--size", "8", "-q"], 0, "24 train, 12 val; 8-box"),
        (["build", str(tmp_path), elsewhere], 1, "is a URL, and this must be a path"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == status
        output = capsys.readouterr()
        assert said in output.out + output.err
