import base64
import hashlib
import io
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from oci.object_storage import UploadManager
from oci.object_storage.models import (
    CommitMultipartUploadDetails,
    CommitMultipartUploadPartDetails,
    CreateBucketDetails,
    CreateMultipartUploadDetails,
)

from tests.emulator.clouds import Bucket, Cloud, at_once, refusal


@pytest.fixture
def bucket(cloud: Cloud) -> Bucket:
    return cloud.bucket


def test_an_object_is_put_read_and_deleted(bucket: Bucket) -> None:
    put = bucket.put_object("a/b.txt", b"content", content_type="text/plain", opc_meta={"owner": "tests"})
    digest = base64.b64encode(hashlib.md5(b"content", usedforsecurity=False).digest()).decode()
    assert put.headers["opc-content-md5"] == digest
    read = bucket.get_object("a/b.txt")
    assert read.data.content == b"content"
    assert read.headers["etag"] == put.headers["etag"]
    assert read.headers["content-md5"] == digest
    assert read.headers["content-type"] == "text/plain"
    assert read.headers["opc-meta-owner"] == "tests"
    assert bucket.delete_object("a/b.txt").status == 204
    assert refusal(bucket.get_object, "a/b.txt") == (404, "ObjectNotFound")
    assert refusal(bucket.delete_object, "a/b.txt") == (404, "ObjectNotFound")


def test_head_returns_the_headers_that_readers_need(bucket: Bucket) -> None:
    put = bucket.put_object("a", b"content")
    head = bucket.head_object("a").headers
    assert head["accept-ranges"] == "bytes"
    assert head["version-id"] == put.headers["version-id"]
    assert head["etag"] == put.headers["etag"]
    assert head["content-length"] == "7"
    assert head["content-md5"] == put.headers["opc-content-md5"]
    assert "opc-multipart-md5" not in head
    assert head["last-modified"]
    assert head["content-type"]


@pytest.mark.parametrize(
    ("requested", "content", "content_range"),
    [
        ("bytes=0-0", b"0", "bytes 0-0/10"),
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=5-99", b"56789", "bytes 5-9/10"),
    ],
)
def test_a_range_is_read(bucket: Bucket, requested: str, content: bytes, content_range: str) -> None:
    bucket.put_object("a", b"0123456789")
    part = bucket.get_object("a", range=requested)
    assert (part.status, part.data.content, part.headers["content-range"]) == (206, content, content_range)


def test_a_range_after_the_end_is_refused(bucket: Bucket) -> None:
    bucket.put_object("a", b"0123456789")
    assert refusal(bucket.get_object, "a", range="bytes=10-")[0] == 416


def test_an_empty_object_is_stored(bucket: Bucket) -> None:
    bucket.put_object("empty", b"")
    assert bucket.read("empty") == b""
    assert bucket.list_objects(fields="size").data.objects[0].size == 0


def test_a_stream_is_put_and_read_whole(bucket: Bucket) -> None:
    content = bytes(range(256)) * 4096 * 20
    bucket.put_object("big", io.BytesIO(content))
    assert bucket.read("big") == content
    assert bucket.get_object("big", range="bytes=1000000-1000002").data.content == content[1000000:1000003]


def test_a_wrong_checksum_is_refused(bucket: Bucket) -> None:
    wrong = base64.b64encode(bytes(16)).decode()
    assert refusal(bucket.put_object, "a", b"x", content_md5=wrong) == (400, "UnmatchedContentMD5")
    assert bucket.names() == []


def test_a_put_obeys_its_preconditions(bucket: Bucket) -> None:
    first = bucket.put_object("a", b"1", if_none_match="*")
    assert refusal(bucket.put_object, "a", b"2", if_none_match="*") == (412, "IfNoneMatchFailed")
    assert refusal(bucket.put_object, "a", b"2", if_match="other") == (412, "IfMatchFailed")
    assert refusal(bucket.put_object, "new", b"2", if_match="other") == (412, "IfMatchFailed")
    second = bucket.put_object("a", b"2", if_match=first.headers["etag"])
    assert second.headers["etag"] != first.headers["etag"]
    assert refusal(bucket.delete_object, "a", if_match=first.headers["etag"]) == (412, "IfMatchFailed")
    assert refusal(bucket.get_object, "a", if_match=first.headers["etag"]) == (412, "IfMatchFailed")
    assert refusal(bucket.get_object, "a", if_none_match=second.headers["etag"])[0] == 304
    assert bucket.get_object("a", if_match=second.headers["etag"]).data.content == b"2"
    bucket.delete_object("a", if_match=second.headers["etag"])
    bucket.put_object("a", b"3", if_none_match="*")


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_one_of_several_simultaneous_puts_if_absent_wins(bucket: Bucket, size: int) -> None:
    for turn in range(5):
        put = partial(bucket.put_object, f"race-{turn}", if_none_match="*")
        contents = [letter * size for letter in (b"A", b"B", b"C", b"D")]
        results = at_once(*(partial(put, put_object_body=content) for content in contents))
        assert results.count(412) == 3
        [winner] = [content for content, result in zip(contents, results, strict=True) if result != 412]
        assert bucket.read(f"race-{turn}") == winner


NAMES = ["a", "a/1", "a/2", "a/b/3", "b", "b/4", "z", "é", "ユ"]


@pytest.fixture
def filled(bucket: Bucket) -> Bucket:
    for name in reversed(NAMES):
        bucket.put_object(name, name.encode())
    return bucket


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, NAMES),
        ({"prefix": "a"}, ["a", "a/1", "a/2", "a/b/3"]),
        ({"prefix": "a/"}, ["a/1", "a/2", "a/b/3"]),
        ({"start": "a/2"}, NAMES[2:]),
        ({"start": "a/2", "end": "b/4"}, ["a/2", "a/b/3", "b"]),
        ({"start_after": "a/2"}, NAMES[3:]),
        ({"start_after": "z"}, ["é", "ユ"]),
        ({"prefix": "none"}, []),
        ({"limit": 2}, ["a", "a/1"]),
    ],
)
def test_names_are_listed_in_order(filled: Bucket, options: dict[str, Any], names: list[str]) -> None:
    assert filled.names(**options) == names


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("delimiter", [None, "/"])
def test_pages_of_names_together_are_the_whole_list(filled: Bucket, limit: int, delimiter: str | None) -> None:
    options = {"delimiter": delimiter} if delimiter else {}
    whole = filled.list_objects(**options).data
    names: list[str] = []
    prefixes: list[str] = []
    start: str | None = ""
    while start is not None:
        page = filled.list_objects(limit=limit, start=start, **options).data
        assert len(page.objects) + len(page.prefixes) <= limit
        names += [item.name for item in page.objects]
        prefixes += page.prefixes
        start = page.next_start_with
    assert names == [item.name for item in whole.objects]
    assert prefixes == whole.prefixes


def test_a_delimiter_folds_names(filled: Bucket) -> None:
    page = filled.list_objects(delimiter="/").data
    assert [item.name for item in page.objects] == ["a", "b", "z", "é", "ユ"]
    assert page.prefixes == ["a/", "b/"]
    below = filled.list_objects(prefix="a/", delimiter="/").data
    assert ([item.name for item in below.objects], below.prefixes) == (["a/1", "a/2"], ["a/b/"])


def test_only_the_fields_asked_for_are_listed(filled: Bucket) -> None:
    bare = filled.list_objects(prefix="z").data.objects[0]
    assert (bare.size, bare.etag, bare.md5, bare.time_created) == (None, None, None, None)
    full = filled.list_objects(prefix="z", fields="name,size,etag,md5,timeCreated,timeModified").data.objects[0]
    assert full.size == 1
    assert full.etag == filled.head_object("z").headers["etag"]
    assert full.time_created
    assert full.md5


def test_wrong_list_parameters_are_refused(filled: Bucket) -> None:
    assert refusal(filled.list_objects, delimiter="-")[0] == 400
    assert refusal(filled.list_objects, fields="colour")[0] == 400
    assert refusal(filled.list_objects, limit=1001)[0] == 400


def test_a_bucket_is_created_read_listed_and_deleted(cloud: Cloud, bucket: Bucket) -> None:
    assert cloud.storage.get_namespace().data == bucket.namespace
    details = CreateBucketDetails(name=bucket.name, compartment_id=cloud.compartment)
    assert refusal(cloud.storage.create_bucket, bucket.namespace, details) == (409, "BucketAlreadyExists")
    details.name = "no/slash"
    assert refusal(cloud.storage.create_bucket, bucket.namespace, details) == (400, "InvalidBucketName")
    listed = cloud.storage.list_buckets(bucket.namespace, cloud.compartment).data
    assert [item.name for item in listed] == [bucket.name]
    assert bucket.get_bucket().data.compartment_id == cloud.compartment
    assert bucket.head_bucket().status == 200
    bucket.put_object("a", b"x")
    assert refusal(bucket.delete_bucket) == (409, "BucketNotEmpty")
    bucket.delete_object("a")
    bucket.delete_bucket()
    assert refusal(bucket.get_bucket) == (404, "BucketNotFound")
    assert refusal(bucket.put_object, "a", b"x") == (404, "BucketNotFound")
    assert refusal(cloud.storage.list_objects, "other", "b") == (404, "NamespaceNotFound")


def test_replaced_contents_leave_no_file_behind(cloud: Cloud, bucket: Bucket) -> None:
    for content in (b"1", b"2", b"3"):
        bucket.put_object("a", content)
    refusal(bucket.put_object, "a", b"4", if_none_match="*")
    refusal(bucket.put_object, "a", b"4", content_md5="wrong")
    bucket.put_object("b", b"5")
    bucket.delete_object("b")
    folder = cloud.emulator.data_dir
    assert len(list((folder / "objects").iterdir())) == 1
    assert list((folder / "incoming").iterdir()) == []


def test_the_upload_manager_of_the_sdk_sends_parts(cloud: Cloud, bucket: Bucket, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096 * 25
    path = tmp_path / "big"
    path.write_bytes(content)
    manager = UploadManager(bucket.client, allow_parallel_uploads=True)
    options = {"part_size": 10 * 1024 * 1024, "content_type": "text/x", "metadata": {"k": "v"}}
    manager.upload_file(bucket.namespace, bucket.name, "folder/big", str(path), **options)
    assert len(cloud.emulator.calls("UploadPart")) == 3
    read = bucket.get_object("folder/big")
    assert read.data.content == content
    assert (read.headers["content-type"], read.headers["opc-meta-k"]) == ("text/x", "v")
    assert read.headers["opc-multipart-md5"].endswith("-3")
    assert list((cloud.emulator.data_dir / "parts").iterdir()) == []


def begin(bucket: Bucket, *parts: bytes) -> tuple[str, list[CommitMultipartUploadPartDetails]]:
    upload = bucket.create_multipart_upload(CreateMultipartUploadDetails(object="m")).data.upload_id
    etags = [bucket.upload_part("m", upload, n, part).headers["etag"] for n, part in enumerate(parts, 1)]
    return upload, [CommitMultipartUploadPartDetails(part_num=n, etag=etag) for n, etag in enumerate(etags, 1)]


def test_a_commit_joins_only_the_named_parts_in_order(bucket: Bucket) -> None:
    upload, parts = begin(bucket, b"1", b"2", b"3")
    assert [part.part_number for part in bucket.list_multipart_upload_parts("m", upload).data] == [1, 2, 3]
    assert [item.upload_id for item in bucket.list_multipart_uploads().data] == [upload]
    assert refusal(bucket.get_object, "m")[0] == 404
    details = CommitMultipartUploadDetails(parts_to_commit=[parts[2], parts[0]])
    committed = bucket.commit_multipart_upload("m", upload, details)
    assert committed.headers["etag"] == bucket.head_object("m").headers["etag"]
    assert bucket.read("m") == b"13"
    assert refusal(bucket.commit_multipart_upload, "m", upload, details) == (404, "NoSuchUpload")


def test_a_commit_obeys_its_precondition(bucket: Bucket) -> None:
    upload, parts = begin(bucket, b"parts")
    bucket.put_object("m", b"first")
    details = CommitMultipartUploadDetails(parts_to_commit=parts)
    answer = refusal(bucket.commit_multipart_upload, "m", upload, details, if_none_match="*")
    assert answer == (412, "IfNoneMatchFailed")
    assert bucket.read("m") == b"first"
    parts[0].etag = "other"
    assert refusal(bucket.commit_multipart_upload, "m", upload, details) == (400, "InvalidUploadPart")


def test_an_aborted_upload_is_removed(cloud: Cloud, bucket: Bucket) -> None:
    upload, _ = begin(bucket, b"1")
    bucket.abort_multipart_upload("m", upload)
    assert refusal(bucket.upload_part, "m", upload, 2, b"2") == (404, "NoSuchUpload")
    assert list((cloud.emulator.data_dir / "parts").iterdir()) == []
