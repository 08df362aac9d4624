"""The part of the composition root that builds knowledge bases, for the API and for the worker."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from ingestion.chunk import Section, sections
from ingestion.document import Block
from ingestion.parse import DocumentParser, ParseLimits
from ingestion.sources import UrlFetcher, UrlPolicy
from memoryd.jobs.service import JobService
from memoryd.knowledge.bases import KnowledgeBases
from memoryd.knowledge.ingest import Ingest, Tools
from memoryd.knowledge.library import Library
from memoryd.knowledge.model import KnowledgeBase
from memoryd.knowledge.orders import INGEST, Orders
from memoryd.knowledge.services import KnowledgeServices
from memoryd.knowledge.uploads import Uploads
from memoryd.knowledge.versioning import Versioning
from memoryd.memory.ports import Clock
from memoryd.models import Models
from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.stores.generations import Generation
from memoryd.stores.jobs import PgJobs
from memoryd.stores.knowledge.bases import PgBases
from memoryd.stores.knowledge.documents import PgDocuments
from memoryd.stores.knowledge.drafts import PgDrafts
from memoryd.stores.knowledge.versions import PgVersions
from memoryd.stores.objects import ObstoreObjects
from memoryd.stores.once import PgOnce
from memoryd.stores.originals import ObjectOriginals
from retrieval.analysis import Analyzer
