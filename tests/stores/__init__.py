"""Tests of the stores: one contract for all of them, and what only one has."""

import pytest

for name in ("contract", "contract_logs", "contract_sessions"):
    pytest.register_assert_rewrite(f"tests.stores.{name}")
