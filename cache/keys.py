"""The names under which artifacts are stored."""

import re
from dataclasses import dataclass

from cache.errors import InvalidKeyError

_STAGE = re.compile(r"[a-z][a-z0-9-]{0,63}")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The stage that made an artifact and the fingerprint of what it was made from.

    Both become folder names, so that nothing but their alphabets is let through.

    Raises:
        InvalidKeyError: the stage is not kebab-case, or the fingerprint not 64 lowercase hexadecimal digits.
    """

    stage: str
    fingerprint: str

    def __post_init__(self) -> None:
        if not isinstance(self.stage, str) or _STAGE.fullmatch(self.stage) is None:
            raise InvalidKeyError(
                f"The stage is {self.stage!r}; expected a lowercase letter followed by at most 63 lowercase "
                "letters, digits and hyphens, as in 'calibration'."
            )
        if not isinstance(self.fingerprint, str) or _FINGERPRINT.fullmatch(self.fingerprint) is None:
            raise InvalidKeyError(
                f"The fingerprint is {self.fingerprint!r}; expected 64 lowercase hexadecimal digits. "
                "Take it from cache.fingerprint or from `rankscope cache list`."
            )

    def __str__(self) -> str:
        return f"{self.stage}/{self.fingerprint}"
