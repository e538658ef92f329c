"""Object Storage: the namespace, buckets and objects."""
