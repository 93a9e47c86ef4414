"""Object stores as folders and files, with the library obstore. URIs begin with s3a://, gs://, abfss:// or az://.

`path` has ObjectPath. `pages` lists objects; `parallel_listing` lists very many objects with parallel requests.
`deletion` deletes folders. `stores` sends the requests. `s3` and `gcs` read the settings of these stores;
`address_check` checks them.
"""

from verger.storage.objects.parallel_listing import ObjectInfo
from verger.storage.objects.path import SCHEMES, ObjectPath, Version, listed_object, object_path
from verger.storage.objects.s3 import s3_endpoint, s3_region

__all__ = [
    "SCHEMES",
    "ObjectInfo",
    "ObjectPath",
    "Version",
    "listed_object",
    "object_path",
    "s3_endpoint",
    "s3_region",
]
