"""The endpoints of Object Storage."""

from dataclasses import dataclass

from oci_emulator.messages import Endpoint, Plain, Uploading
from oci_emulator.object_storage.buckets import Buckets
from oci_emulator.object_storage.multipart import MultipartUploads
from oci_emulator.object_storage.objects import Objects
from oci_emulator.object_storage.retention_rules import RetentionRules


@dataclass(frozen=True)
class ObjectStorage:
    """The service."""

    buckets: Buckets
    objects: Objects
    uploads: MultipartUploads
    rules: RetentionRules

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the endpoints by operation."""
        return {
            "GetNamespace": Plain(self.buckets.get_namespace),
            "GetNamespaceMetadata": Plain(self.buckets.get_namespace_metadata),
            "CreateBucket": Plain(self.buckets.create),
            "GetBucket": Plain(self.buckets.get),
            "HeadBucket": Plain(self.buckets.head),
            "ListBuckets": Plain(self.buckets.list_all),
            "DeleteBucket": Plain(self.buckets.delete),
            "CreateRetentionRule": Plain(self.rules.create),
            "ListRetentionRules": Plain(self.rules.list_all),
            "DeleteRetentionRule": Plain(self.rules.delete),
            "PutObject": Uploading(self.objects.admit, self.objects.put),
            "GetObject": Plain(self.objects.get),
            "HeadObject": Plain(self.objects.head),
            "DeleteObject": Plain(self.objects.delete),
            "ListObjects": Plain(self.objects.list_all),
            "CreateMultipartUpload": Plain(self.uploads.create),
            "UploadPart": Uploading(self.uploads.admit_part, self.uploads.put_part),
            "CommitMultipartUpload": Plain(self.uploads.commit),
            "AbortMultipartUpload": Plain(self.uploads.abort),
            "ListMultipartUploads": Plain(self.uploads.list_all),
            "ListMultipartUploadParts": Plain(self.uploads.list_parts),
        }
