"""Object stores as folders and files: s3a://, gs:// and abfss:// or az:// URIs, by obstore.

`paths` has what answers as a folder does, `listing` finds what is there, a great many of them by `ranges` side
by side, `stores` makes the requests, `s3` knows where S3's settings come from.
"""

from verger.storage.objects.parallel_listing import ObjectInfo
from verger.storage.objects.path import SCHEMES, ObjectPath, Version, object_path
from verger.storage.objects.s3 import s3_endpoint, s3_region

__all__ = ["SCHEMES", "ObjectInfo", "ObjectPath", "Version", "object_path", "s3_endpoint", "s3_region"]
