"""The contract, on every store."""

import pytest

from django_hub.stores.memory import MemoryStore
from tests.stores.contract import StoreContract, limits_for
from tests.stores.contract_logs import LogContract
from tests.stores.contract_marks import MarkContract
from tests.stores.contract_sessions import SessionContract
from tests.stores.contract_surveys import SurveyContract
from tests.stores.contract_visits import VisitContract


class TestMemoryStore(
    LogContract, MarkContract, SessionContract, SurveyContract, VisitContract, StoreContract
):
    unit = 1.0

    @pytest.fixture(autouse=True)
    def clock(self):
        self.time = 1_900_000_000.0

    @pytest.fixture
    async def store(self, clock):
        store = MemoryStore(limits_for(self.unit), clock=self.now)
        yield store
        await store.close()

    async def advance(self, seconds):
        self.time += seconds

    async def put_back(self, store, seconds):
        self.time -= seconds

    def now(self):
        return self.time
