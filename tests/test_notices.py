"""Notices: what relays are told, and back."""

import pytest

from django_hub.exceptions import InvalidName
from django_hub.names import require_hub_name
from django_hub.notices import (
    NOTICES,
    AllChanged,
    GroupsChanged,
    Kicked,
    LoggedOut,
    UsersChanged,
    read,
    write,
)


@pytest.mark.parametrize(
    "notice",
    [
        UsersChanged(("1", "é")),
        GroupsChanged(("3",)),
        AllChanged(),
        LoggedOut("7"),
        LoggedOut("7", "abc"),
        Kicked("lobby", "7", "", 4403, "spam"),
        Kicked("ä b", "", "ann", 4001, "", banned=True),
    ],
)
def test_a_notice_comes_back_as_it_was(notice):
    assert read(write(notice, 12.5)) == (notice, 12.5)


def test_one_of_another_version_may_say_anything():
    assert read('[1.5,"Promoted","7"]') == (AllChanged(), 1.5)
    assert read('[1,"LoggedOut"]') == (AllChanged(), 1)


@pytest.mark.parametrize("text", ["{}", "7", '["x"]', "[]"])
def test_what_is_none_is_refused(text):
    with pytest.raises(ValueError, match="no notice"):
        read(text)


def test_no_client_can_join_the_log_of_notices():
    with pytest.raises(InvalidName):
        require_hub_name(NOTICES)
