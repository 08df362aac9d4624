"""Where documents come from: a URL, an archive, a folder."""

from ingestion.sources.archive import ArchiveLimits, walk_archive
from ingestion.sources.errors import Reason, SourceRefused
from ingestion.sources.folder import content_hash, walk_folder
from ingestion.sources.globs import Globs
from ingestion.sources.model import Found, Skipped, SkipReason
from ingestion.sources.url import Fetched, Fetcher, FetchPolicy, Resolver

__all__ = [
    "ArchiveLimits",
    "FetchPolicy",
    "Fetched",
    "Fetcher",
    "Found",
    "Globs",
    "Reason",
    "Resolver",
    "SkipReason",
    "Skipped",
    "SourceRefused",
    "content_hash",
    "walk_archive",
    "walk_folder",
]
