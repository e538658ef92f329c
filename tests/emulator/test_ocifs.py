import errno
import io
import os
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest
from oci.retry import NoneRetryStrategy

from tests.emulator.clouds import Cloud, refusal

MEGABYTE = 1024 * 1024


@pytest.fixture
def options(cloud: Cloud) -> dict[str, Any]:
    """The options that a caller of fsspec or pandas passes to ocifs."""
    return {
        "config": cloud.emulator.config_file,
        "config_kwargs": {"service_endpoint": cloud.emulator.url},
        "skip_instance_cache": True,
    }


@pytest.fixture
def files(options: dict[str, Any]) -> Any:
    return fsspec.filesystem("oci", **options)


@pytest.fixture
def root(cloud: Cloud) -> str:
    return f"oci://{cloud.bucket.name}@{cloud.emulator.namespace}"


@pytest.mark.parametrize("size", [0, 1, MEGABYTE])
def test_a_written_file_is_read_back(files: Any, root: str, size: int) -> None:
    content = os.urandom(size)
    with files.open(f"{root}/a/b.bin", "wb") as file:
        file.write(content)
    with files.open(f"{root}/a/b.bin", "rb") as file:
        assert file.read() == content
    assert files.cat(f"{root}/a/b.bin") == content
    assert files.size(f"{root}/a/b.bin") == size


def test_a_large_file_is_written_in_parts(cloud: Cloud, files: Any, root: str) -> None:
    content = os.urandom(17 * MEGABYTE + 5)
    with files.open(f"{root}/large.bin", "wb") as file:
        for start in range(0, len(content), MEGABYTE):
            file.write(content[start : start + MEGABYTE])
    assert [call["status"] for call in cloud.emulator.calls("UploadPart")] == [200] * 4
    assert cloud.emulator.calls("CommitMultipartUpload")[0]["status"] == 200
    assert cloud.emulator.calls("PutObject") == []
    assert files.cat(f"{root}/large.bin") == content
    assert cloud.bucket.list_multipart_uploads().data == []


def test_a_discarded_write_leaves_nothing(cloud: Cloud, files: Any, root: str) -> None:
    file = files.open(f"{root}/half.bin", "wb")
    file.write(os.urandom(11 * MEGABYTE))
    assert cloud.bucket.list_multipart_uploads().data
    file.discard()
    file.closed = True  # ocifs does not set it, and would write again when the file is collected
    assert cloud.bucket.list_multipart_uploads().data == []
    assert not files.exists(f"{root}/half.bin")


def test_ranges_are_read(cloud: Cloud, files: Any, root: str) -> None:
    content = os.urandom(100_000)
    files.pipe_file(f"{root}/a.bin", content)
    assert files.cat_file(f"{root}/a.bin", start=10, end=20) == content[10:20]
    assert files.cat_file(f"{root}/a.bin", start=-7) == content[-7:]
    assert files.tail(f"{root}/a.bin", 5) == content[-5:]
    with files.open(f"{root}/a.bin", "rb", block_size=5 * MEGABYTE) as file:
        file.seek(99_990)
        assert file.read(100) == content[99_990:]
        file.seek(-3, 2)
        assert file.read() == content[-3:]
    assert {call["status"] for call in cloud.emulator.calls("GetObject")} == {206}


def test_folders_are_listed(files: Any, root: str) -> None:
    names = ["top.txt", "a/one.txt", "a/two.txt", "a/b/three.txt", "é ü/x y.txt"]
    for name in names:
        files.pipe_file(f"{root}/{name}", name.encode())
    bare = root.removeprefix("oci://")
    assert sorted(files.ls(root)) == [f"{bare}/{name}" for name in ("a", "top.txt", "é ü")]
    assert sorted(files.ls(f"{root}/a")) == [f"{bare}/a/{name}" for name in ("b", "one.txt", "two.txt")]
    assert files.find(root) == sorted(f"{bare}/{name}" for name in names)
    assert files.glob(f"{root}/a/*.txt") == [f"{bare}/a/one.txt", f"{bare}/a/two.txt"]
    assert files.cat(f"{root}/é ü/x y.txt") == "é ü/x y.txt".encode()
    assert files.isdir(f"{root}/a")
    assert files.isfile(f"{root}/a/one.txt")
    assert [entry["size"] for entry in files.ls(f"{root}/a", detail=True) if entry["type"] == "file"] == [9, 9]


def test_info_agrees_with_head(cloud: Cloud, files: Any, root: str) -> None:
    files.pipe_file(f"{root}/a.txt", b"abc")
    info = files.info(f"{root}/a.txt")
    head = cloud.bucket.head_object("a.txt").headers
    assert (info["size"], info["type"], info["acceptRanges"]) == (3, "file", "bytes")
    assert (info["etag"], info["versionId"]) == (head["etag"], head["version-id"])
    before = files.checksum(f"{root}/a.txt")
    files.pipe_file(f"{root}/a.txt", b"abcd")
    assert files.checksum(f"{root}/a.txt") != before


def test_files_and_folders_are_removed(files: Any, root: str) -> None:
    for name in ("a/one", "a/two", "b"):
        files.pipe_file(f"{root}/{name}", b"x")
    files.rm(f"{root}/b")
    assert not files.exists(f"{root}/b")
    files.rm(f"{root}/a", recursive=True)
    assert files.find(root) == []


def test_buckets_are_created_and_removed(cloud: Cloud, files: Any) -> None:
    # Checked with the SDK: exists() of ocifs 1.3.4 is False for every bucket, because it passes an unknown argument.
    namespace = cloud.emulator.namespace
    files.mkdir(f"oci://new@{namespace}", compartment_id=cloud.compartment)
    assert cloud.storage.head_bucket(namespace, "new").status == 200
    assert files.ls(f"oci://new@{namespace}") == []
    assert "new@emulator" in files.ls(f"oci://@{namespace}")
    files.rmdir(f"oci://new@{namespace}")
    assert refusal(cloud.storage.get_bucket, namespace, "new") == (404, "BucketNotFound")


@pytest.mark.parametrize("name", ["absent.txt", "absent/folder/x.txt"])
def test_an_absent_file_is_not_found(files: Any, root: str, name: str) -> None:
    path = f"{root}/{name}"
    assert not files.exists(path)
    for call in (files.info, files.cat, files.open, files.rm, files.size):
        with pytest.raises(FileNotFoundError):
            call(path)
    with pytest.raises(FileNotFoundError):
        files.rm(path, recursive=True)


@pytest.mark.parametrize("path", ["oci://absent@emulator/a.txt", "oci://shelf@absent/a.txt"])
def test_an_absent_bucket_is_not_found(files: Any, path: str) -> None:
    with pytest.raises(FileNotFoundError):
        files.info(path)
    with pytest.raises(FileNotFoundError):
        files.ls(path.rpartition("/")[0])
    with pytest.raises(FileNotFoundError), files.open(path, "wb") as file:
        file.write(b"x")


def test_oracles_conda_packs_are_read_only(files: Any) -> None:
    index = "oci://service-conda-packs@id19sfcrra6z/service_pack/index.json"
    assert b"generalml_p311_cpu_x86_64_v3" in files.cat(index)
    for call in (lambda: files.pipe_file(index, b"other"), lambda: files.rm(index)):
        with pytest.raises(FileNotFoundError):
            call()


def test_too_many_requests_is_an_oserror(cloud: Cloud, options: dict[str, Any], root: str) -> None:
    files = fsspec.filesystem("oci", **options, oci_additional_kwargs={"retry_strategy": NoneRetryStrategy()})
    cloud.emulator.fail_next("HeadObject", status=429)
    with pytest.raises(OSError, match="Errno") as caught:
        files.info(f"{root}/a.txt")
    assert caught.value.errno == errno.EBUSY


def test_pandas_writes_and_reads(options: dict[str, Any], root: str) -> None:
    frame = pd.DataFrame({"user": ["0205", "é,\"'"], "rating": [1.5, 2.0]})
    frame.to_csv(f"{root}/frames/a.csv", index=False, storage_options=options)
    read = pd.read_csv(f"{root}/frames/a.csv", dtype={"user": str}, storage_options=options)
    pd.testing.assert_frame_equal(read, frame)


def test_pandas_reads_a_large_parquet(options: dict[str, Any], root: str) -> None:
    numbers = np.random.default_rng(1).normal(size=(1_000_000, 1))
    frame = pd.DataFrame(numbers, columns=["value"])
    frame.to_parquet(f"{root}/frames/a.parquet", storage_options=options)
    pd.testing.assert_frame_equal(pd.read_parquet(f"{root}/frames/a.parquet", storage_options=options), frame)


def test_fsspec_opens_text_by_its_url(options: dict[str, Any], root: str, tmp_path: Path) -> None:
    with fsspec.open(f"{root}/text.txt", "w", encoding="utf-8", **options) as file:
        file.write("zwölf\n")
    with fsspec.open(f"{root}/text.txt", "r", encoding="utf-8", **options) as file:
        assert io.StringIO(file.read()).readline() == "zwölf\n"
    fsspec.filesystem("oci", **options).get(f"{root}/text.txt", str(tmp_path / "text.txt"))
    assert (tmp_path / "text.txt").read_text(encoding="utf-8") == "zwölf\n"
