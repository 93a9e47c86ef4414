"""Object stores as folders and files: s3a://, gs:// and abfss:// or az:// URIs, by obstore.

`path` has ObjectPath, `pages` lists objects, `parallel_listing` lists very many with several requests at a time,
`deletion` deletes folders, `stores` sends the requests, `s3` and `gcs` read the settings of the stores.
"""

from verger.storage.objects.parallel_listing import ObjectInfo
from verger.storage.objects.path import SCHEMES, ObjectPath, Version, object_path
from verger.storage.objects.s3 import s3_endpoint, s3_region

__all__ = ["SCHEMES", "ObjectInfo", "ObjectPath", "Version", "object_path", "s3_endpoint", "s3_region"]
