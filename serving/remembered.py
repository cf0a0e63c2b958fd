"""What users have told lately, remembered for the moments in which no record can be read."""

from __future__ import annotations

from online.core.preference_step import told
from online.core.record import UserRecord

REMEMBERED = 10_000  # users


class Remembered:
    """Of the users served last, those who have muted, hidden or refused something: two generations, bounded."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._young: dict[str, UserRecord] = {}
        self._old: dict[str, UserRecord] = {}

    def note(self, user_key: str | None, record: UserRecord | None) -> None:
        """Remember what a record says that was read just now."""
        if user_key is None:
            return
        if record is None or (record.controls is None and not record.hidden):
            self._young.pop(user_key, None)
            self._old.pop(user_key, None)
        else:
            if len(self._young) >= self._most // 2:
                self._old, self._young = self._young, {}
            self._young[user_key] = told(record)

    def of(self, user_key: str | None) -> UserRecord | None:
        """Return what is remembered of a user, None for nothing."""
        if user_key is None:
            return None
        return self._young.get(user_key) or self._old.get(user_key)
