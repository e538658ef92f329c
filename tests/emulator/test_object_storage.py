import base64
import hashlib
import io
import threading
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

from tests.emulator.clouds import Cloud, refusal


class Shelf:
    """The bucket of a cloud, without the namespace and the bucket in every call."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.cloud.storage, name)
        return lambda *arguments, **options: method(
            self.cloud.emulator.namespace, self.cloud.bucket, *arguments, **options
        )

    def names(self, **options: Any) -> list[str]:
        return [item.name for item in self.list_objects(**options).data.objects]


@pytest.fixture
def shelf(cloud: Cloud) -> Shelf:
    return Shelf(cloud)


def test_an_object_is_put_read_and_deleted(shelf: Shelf) -> None:
    put = shelf.put_object("a/b.txt", b"content", content_type="text/plain", opc_meta={"owner": "tests"})
    digest = base64.b64encode(hashlib.md5(b"content", usedforsecurity=False).digest()).decode()
    assert put.headers["opc-content-md5"] == digest
    read = shelf.get_object("a/b.txt")
    assert read.data.content == b"content"
    assert read.headers["etag"] == put.headers["etag"]
    assert read.headers["content-md5"] == digest
    assert read.headers["content-type"] == "text/plain"
    assert read.headers["opc-meta-owner"] == "tests"
    assert shelf.delete_object("a/b.txt").status == 204
    assert refusal(shelf.get_object, "a/b.txt") == (404, "ObjectNotFound")
    assert refusal(shelf.delete_object, "a/b.txt") == (404, "ObjectNotFound")


def test_head_has_what_readers_need(shelf: Shelf) -> None:
    put = shelf.put_object("a", b"content")
    head = shelf.head_object("a").headers
    assert head["accept-ranges"] == "bytes"
    assert head["version-id"] == put.headers["version-id"]
    assert head["etag"] == put.headers["etag"]
    assert head["content-length"] == "7"
    assert head["content-md5"] == put.headers["opc-content-md5"]
    assert "opc-multipart-md5" not in head
    assert head["last-modified"]
    assert head["content-type"]


@pytest.mark.parametrize(
    ("asked", "content", "shown"),
    [
        ("bytes=0-0", b"0", "bytes 0-0/10"),
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=5-99", b"56789", "bytes 5-9/10"),
    ],
)
def test_a_range_is_read(shelf: Shelf, asked: str, content: bytes, shown: str) -> None:
    shelf.put_object("a", b"0123456789")
    part = shelf.get_object("a", range=asked)
    assert (part.status, part.data.content, part.headers["content-range"]) == (206, content, shown)


def test_a_range_behind_the_end_is_refused(shelf: Shelf) -> None:
    shelf.put_object("a", b"0123456789")
    assert refusal(shelf.get_object, "a", range="bytes=10-")[0] == 416


def test_an_empty_object_is_kept(shelf: Shelf) -> None:
    shelf.put_object("empty", b"")
    assert shelf.get_object("empty").data.content == b""
    assert shelf.list_objects(fields="size").data.objects[0].size == 0


def test_a_stream_is_put_and_read_whole(shelf: Shelf) -> None:
    content = bytes(range(256)) * 4096 * 20
    shelf.put_object("big", io.BytesIO(content))
    assert shelf.get_object("big").data.content == content
    assert shelf.get_object("big", range="bytes=1000000-1000002").data.content == content[1000000:1000003]


def test_a_wrong_checksum_is_refused(shelf: Shelf) -> None:
    wrong = base64.b64encode(bytes(16)).decode()
    assert refusal(shelf.put_object, "a", b"x", content_md5=wrong) == (400, "UnmatchedContentMD5")
    assert shelf.names() == []


def test_only_the_first_put_if_absent_wins(shelf: Shelf) -> None:
    first = shelf.put_object("a", b"1", if_none_match="*")
    assert refusal(shelf.put_object, "a", b"2", if_none_match="*") == (412, "IfNoneMatchFailed")
    assert refusal(shelf.put_object, "a", b"2", if_match="other") == (412, "IfMatchFailed")
    assert refusal(shelf.put_object, "new", b"2", if_match="other") == (412, "IfMatchFailed")
    second = shelf.put_object("a", b"2", if_match=first.headers["etag"])
    assert second.headers["etag"] != first.headers["etag"]
    assert refusal(shelf.delete_object, "a", if_match=first.headers["etag"]) == (412, "IfMatchFailed")
    assert refusal(shelf.get_object, "a", if_match=first.headers["etag"]) == (412, "IfMatchFailed")
    assert refusal(shelf.get_object, "a", if_none_match=second.headers["etag"])[0] == 304
    assert shelf.get_object("a", if_match=second.headers["etag"]).data.content == b"2"
    shelf.delete_object("a", if_match=second.headers["etag"])
    shelf.put_object("a", b"3", if_none_match="*")


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_of_puts_if_absent_at_the_same_time_one_wins(shelf: Shelf, size: int) -> None:
    for turn in range(5):
        contents = [bytes([65 + number]) * size for number in range(4)]
        answers: list[tuple[int, bytes]] = []
        together = threading.Barrier(len(contents))

        def put(content: bytes, name: str = f"race-{turn}", line: Any = together, into: Any = answers) -> None:
            line.wait()
            try:
                into.append((shelf.put_object(name, content, if_none_match="*").status, content))
            except Exception as err:  # noqa: BLE001 - a thread has nowhere to raise it to
                into.append((getattr(err, "status", 0), content))

        threads = [threading.Thread(target=put, args=(content,)) for content in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(status for status, _ in answers) == [200, 412, 412, 412]
        winner = next(content for status, content in answers if status == 200)
        assert shelf.get_object(f"race-{turn}").data.content == winner


NAMES = ["a", "a/1", "a/2", "a/b/3", "b", "b/4", "z", "é", "ユ"]


@pytest.fixture
def filled(shelf: Shelf) -> Shelf:
    for name in reversed(NAMES):
        shelf.put_object(name, name.encode())
    return shelf


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
def test_names_are_listed_in_order(filled: Shelf, options: dict[str, Any], names: list[str]) -> None:
    assert filled.names(**options) == names


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("delimiter", [None, "/"])
def test_pages_of_names_join_to_the_whole(filled: Shelf, limit: int, delimiter: str | None) -> None:
    options = {"delimiter": delimiter} if delimiter else {}
    whole = filled.list_objects(**options).data
    names: list[str] = []
    prefixes: list[str] = []
    start: dict[str, str] = {}
    while True:
        page = filled.list_objects(limit=limit, **options, **start).data
        assert len(page.objects) + len(page.prefixes) <= limit
        names += [item.name for item in page.objects]
        prefixes += page.prefixes
        if not page.next_start_with:
            break
        start = {"start": page.next_start_with}
    assert names == [item.name for item in whole.objects]
    assert prefixes == whole.prefixes


def test_a_delimiter_folds_names(filled: Shelf) -> None:
    page = filled.list_objects(delimiter="/").data
    assert [item.name for item in page.objects] == ["a", "b", "z", "é", "ユ"]
    assert page.prefixes == ["a/", "b/"]
    below = filled.list_objects(prefix="a/", delimiter="/").data
    assert ([item.name for item in below.objects], below.prefixes) == (["a/1", "a/2"], ["a/b/"])


def test_only_the_fields_asked_for_are_listed(filled: Shelf) -> None:
    bare = filled.list_objects(prefix="z").data.objects[0]
    assert (bare.size, bare.etag, bare.md5, bare.time_created) == (None, None, None, None)
    full = filled.list_objects(prefix="z", fields="name,size,etag,md5,timeCreated,timeModified").data.objects[0]
    assert full.size == 1
    assert full.etag == filled.head_object("z").headers["etag"]
    assert full.time_created
    assert full.md5


def test_wrong_list_parameters_are_refused(filled: Shelf) -> None:
    assert refusal(filled.list_objects, delimiter="-")[0] == 400
    assert refusal(filled.list_objects, fields="colour")[0] == 400
    assert refusal(filled.list_objects, limit=1001)[0] == 400


def test_buckets(cloud: Cloud) -> None:
    space = cloud.emulator.namespace
    assert cloud.storage.get_namespace().data == space
    details = CreateBucketDetails(name=cloud.bucket, compartment_id=cloud.compartment)
    assert refusal(cloud.storage.create_bucket, space, details) == (409, "BucketAlreadyExists")
    details.name = "no/slash"
    assert refusal(cloud.storage.create_bucket, space, details) == (400, "InvalidBucketName")
    assert [item.name for item in cloud.storage.list_buckets(space, cloud.compartment).data] == [cloud.bucket]
    assert cloud.storage.get_bucket(space, cloud.bucket).data.compartment_id == cloud.compartment
    assert cloud.storage.head_bucket(space, cloud.bucket).status == 200
    cloud.storage.put_object(space, cloud.bucket, "a", b"x")
    assert refusal(cloud.storage.delete_bucket, space, cloud.bucket) == (409, "BucketNotEmpty")
    cloud.storage.delete_object(space, cloud.bucket, "a")
    cloud.storage.delete_bucket(space, cloud.bucket)
    assert refusal(cloud.storage.get_bucket, space, cloud.bucket) == (404, "BucketNotFound")
    assert refusal(cloud.storage.put_object, space, cloud.bucket, "a", b"x") == (404, "BucketNotFound")
    assert refusal(cloud.storage.list_objects, "other", "b") == (404, "NamespaceNotFound")


def test_replaced_contents_leave_no_file_behind(shelf: Shelf) -> None:
    for content in (b"1", b"2", b"3"):
        shelf.put_object("a", content)
    refusal(shelf.put_object, "a", b"4", if_none_match="*")
    refusal(shelf.put_object, "a", b"4", content_md5="wrong")
    shelf.put_object("b", b"5")
    shelf.delete_object("b")
    folder = shelf.cloud.emulator.data_dir
    assert len(list((folder / "objects").iterdir())) == 1
    assert list((folder / "incoming").iterdir()) == []


def test_the_sdks_upload_manager_sends_parts(shelf: Shelf, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096 * 25
    path = tmp_path / "big"
    path.write_bytes(content)
    manager = UploadManager(shelf.cloud.storage, allow_parallel_uploads=True)
    manager.upload_file(
        shelf.cloud.emulator.namespace,
        shelf.cloud.bucket,
        "folder/big",
        str(path),
        part_size=10 * 1024 * 1024,
        content_type="text/x",
        metadata={"k": "v"},
    )
    assert len(shelf.cloud.emulator.calls("UploadPart")) == 3
    read = shelf.get_object("folder/big")
    assert read.data.content == content
    assert (read.headers["content-type"], read.headers["opc-meta-k"]) == ("text/x", "v")
    assert read.headers["opc-multipart-md5"].endswith("-3")
    assert list((shelf.cloud.emulator.data_dir / "parts").iterdir()) == []


def begin(shelf: Shelf, *parts: bytes) -> tuple[str, list[CommitMultipartUploadPartDetails]]:
    upload = shelf.create_multipart_upload(CreateMultipartUploadDetails(object="m")).data.upload_id
    etags = [shelf.upload_part("m", upload, n, part).headers["etag"] for n, part in enumerate(parts, 1)]
    return upload, [CommitMultipartUploadPartDetails(part_num=n, etag=etag) for n, etag in enumerate(etags, 1)]


def test_parts_are_joined_in_order_and_only_those_named(shelf: Shelf) -> None:
    upload, parts = begin(shelf, b"1", b"2", b"3")
    assert [part.part_number for part in shelf.list_multipart_upload_parts("m", upload).data] == [1, 2, 3]
    assert [item.upload_id for item in shelf.list_multipart_uploads().data] == [upload]
    assert refusal(shelf.get_object, "m")[0] == 404
    details = CommitMultipartUploadDetails(parts_to_commit=[parts[2], parts[0]])
    assert shelf.commit_multipart_upload("m", upload, details).headers["etag"] == shelf.head_object("m").headers["etag"]
    assert shelf.get_object("m").data.content == b"13"
    assert refusal(shelf.commit_multipart_upload, "m", upload, details) == (404, "NoSuchUpload")


def test_a_commit_keeps_to_its_precondition(shelf: Shelf) -> None:
    upload, parts = begin(shelf, b"parts")
    shelf.put_object("m", b"first")
    details = CommitMultipartUploadDetails(parts_to_commit=parts)
    answer = refusal(shelf.commit_multipart_upload, "m", upload, details, if_none_match="*")
    assert answer == (412, "IfNoneMatchFailed")
    assert shelf.get_object("m").data.content == b"first"
    parts[0].etag = "other"
    assert refusal(shelf.commit_multipart_upload, "m", upload, details) == (400, "InvalidUploadPart")


def test_an_aborted_upload_is_gone(shelf: Shelf) -> None:
    upload, _ = begin(shelf, b"1")
    shelf.abort_multipart_upload("m", upload)
    assert refusal(shelf.upload_part, "m", upload, 2, b"2") == (404, "NoSuchUpload")
    assert list((shelf.cloud.emulator.data_dir / "parts").iterdir()) == []
