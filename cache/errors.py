"""What can go wrong with stored artifacts."""


class StoreError(Exception):
    """An artifact cannot be written, found or read as asked."""


class MissingArtifactError(StoreError):
    """The store holds no artifact of that key."""


class DamagedArtifactError(StoreError):
    """What is on disk is not what was written."""


class NewerArtifactError(StoreError):
    """What is on disk was written by a later version of this program, and is whole as far as this one can see."""


class NotPortableError(StoreError):
    """A file does not hold artifacts that can be taken over."""


class InvalidKeyError(StoreError):
    """A stage name or fingerprint cannot name an artifact."""
