"""Who of the clients of ephemeral apps still lives. Pure: the time is passed in (seconds, monotonic)."""

from typing import Final, NamedTuple

MISSED_BEATS: Final = 3
"""Heartbeats that a client may miss; after that many its app is stopped."""


class AppKey(NamedTuple):
    """Names one app across environments."""

    ws: str
    app_id: str


class Beats:
    """The last sign of life of each client."""

    def __init__(self, heartbeat_s: float) -> None:
        self.grace: Final = MISSED_BEATS * heartbeat_s
        """Seconds of silence after which an app lapses."""
        self._seen: dict[AppKey, float] = {}

    def seen(self, app: AppKey, now: float) -> None:
        """Note a sign of life, or start to expect some."""
        self._seen[app] = now

    def heard(self, app: AppKey, now: float) -> None:
        """Note a sign of life of an app that is watched; others are none of our business."""
        if app in self._seen:
            self._seen[app] = now

    def forget(self, app: AppKey) -> None:
        """Expect nothing more of an app."""
        self._seen.pop(app, None)

    def keep(self, apps: set[AppKey], now: float) -> None:
        """Watch exactly these apps; those not watched yet get a full grace."""
        self._seen = {app: self._seen.get(app, now) for app in apps}

    def forgive(self, now: float) -> None:
        """Give everybody a fresh grace: it was we who could not hear."""
        self._seen = dict.fromkeys(self._seen, now)

    def lapsed(self, now: float) -> list[AppKey]:
        """Return the apps whose clients were silent for too long, longest first."""
        late = [app for app, at in self._seen.items() if now - at >= self.grace]
        return sorted(late, key=lambda app: self._seen[app])

    def pause(self, now: float) -> float:
        """Return the seconds until the next app can lapse; at most `grace`, since a new app has that long."""
        first = min(self._seen.values(), default=now)
        return max(0.0, min(first + self.grace - now, self.grace))
