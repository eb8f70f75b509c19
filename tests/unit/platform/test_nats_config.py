"""The configuration of nats-server, as data."""

import json
from pathlib import Path
from typing import Any, get_args

from afield_platform import nats_config
from afield_platform.roles import Role, make_secrets

SECRETS = make_secrets()


def rendered(**changes: Any) -> dict[str, Any]:
    """A configuration."""
    settings: dict[str, Any] = {
        "port": 4222,
        "store": Path("/store"),
        "secrets": SECRETS,
        "shards": 2,
        "name": "n",
    }
    return nats_config.render(**settings | changes)


def test_it_listens_on_loopback_without_monitoring() -> None:
    """The server is reached from this host alone, and has no open monitoring port."""
    config = rendered()
    assert config["listen"] == "127.0.0.1:4222"
    assert not [key for key in config if key.startswith(("http", "monitor"))]


def test_every_role_has_a_user_of_its_own() -> None:
    """Each role has a user with a password of its own, and nobody gets in without."""
    users = {user["user"]: user["password"] for user in rendered()["authorization"]["users"]}
    assert users == {role: SECRETS[role] for role in get_args(Role)}
    assert len(set(users.values())) == len(users)
    assert "no_auth_user" not in rendered()


def test_every_shard_is_served() -> None:
    """The worker may pull from every input stream, and from no other stream."""
    publish = nats_config.grants(2)["worker"].publish
    pulls = [subject for subject in publish if "MSG.NEXT" in subject]
    assert pulls == ["$JS.API.CONSUMER.MSG.NEXT.IN_0.*", "$JS.API.CONSUMER.MSG.NEXT.IN_1.*"]


def test_only_the_operator_may_do_all() -> None:
    """No role but the operator has a grant that covers everything."""
    wide = [
        role
        for role, grant in nats_config.grants(1).items()
        if {">", "$JS.API.>", "_INBOX.>", "$KV.>"} & {*grant.publish, *grant.subscribe}
    ]
    assert wide == ["operator"]


def test_odd_paths_survive() -> None:
    """A store with blanks and quotes in its path is written so that the server reads the same path."""
    store = Path('/a "b" \\ ü')
    assert json.loads(json.dumps(rendered(store=store)))["jetstream"]["store_dir"] == str(store)
