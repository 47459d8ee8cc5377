"""Artifacts on disk: named by what they were made from, whole or absent, checked when read."""

from cache.artifact import Artifact
from cache.codecs import read_arrays, read_as_float32, read_json, write_arrays, write_json
from cache.directory import DirectoryStore
from cache.errors import (
    DamagedArtifactError,
    InvalidKeyError,
    MissingArtifactError,
    NewerArtifactError,
    NotPortableError,
    StoreError,
)
from cache.files import PARTIAL_SUFFIX, write_in_one_step
from cache.fingerprint import canonical_json, fingerprint, fingerprint_bytes, fingerprint_file
from cache.keys import Key
from cache.manifest import Manifest, Member
from cache.memory import MemoryStore
from cache.portable import Imported, export_artifacts, import_artifacts
from cache.store import Store, read_stage, unreadable

__all__ = [
    "PARTIAL_SUFFIX",
    "Artifact",
    "DamagedArtifactError",
    "DirectoryStore",
    "Imported",
    "InvalidKeyError",
    "Key",
    "Manifest",
    "Member",
    "MemoryStore",
    "MissingArtifactError",
    "NewerArtifactError",
    "NotPortableError",
    "Store",
    "StoreError",
    "canonical_json",
    "export_artifacts",
    "fingerprint",
    "fingerprint_bytes",
    "fingerprint_file",
    "import_artifacts",
    "read_arrays",
    "read_as_float32",
    "read_json",
    "read_stage",
    "unreadable",
    "write_arrays",
    "write_in_one_step",
    "write_json",
]
