"""Photos to the `images` table: find (`walk`), label, cut into tasks (`listing`), hand to Spark."""

from verger.ingest.images import images, read_images, with_content
from verger.ingest.listing import Listing, Selection, write_listing

__all__ = ["Listing", "Selection", "images", "read_images", "with_content", "write_listing"]
