"""Tests of the stores: one contract for all of them, and what only one has."""

import pytest

pytest.register_assert_rewrite("tests.stores.contract")
