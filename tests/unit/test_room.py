"""Room: what fits beside what is held, whose GPUs are whose, and which offers cannot be."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from temporal_runs.settings import GIB, Settings, SettingsError
from temporal_runs.steps import Attempt, Request, Tier
from temporal_runs.worker.ledger import Ledger
from temporal_runs.worker.room import Machine, Offer, Room, TooBig

TENTH = Tier(name="tenth", cores=0.1, memory=GIB // 16)
SMALL = Tier(name="small", cores=1, memory=GIB)
LARGE = Tier(name="large", cores=3, memory=2 * GIB)
GPU = Tier(name="gpu", cores=0.5, memory=GIB, gpus=2)
TIERS = {tier.name: tier for tier in (TENTH, SMALL, LARGE, GPU)}
MACHINE = Machine(cores=8, memory=16 * GIB, limits_disks=False)


def room(**offer: object) -> Room:
    return Room.offered(Offer(**offer), TIERS, MACHINE)


@given(st.lists(st.sampled_from([TENTH, SMALL, LARGE, GPU]), max_size=100))
def test_shared_room_is_never_oversubscribed_and_never_refuses_what_fits(asking: list[Tier]):
    shared = room(cores=4, memory=8 * GIB, gpus=3)
    held: list[Tier] = []
    for tier in asking:
        fits = all(
            sum(getattr(one, what) for one in [*held, tier]) <= getattr(shared.whole, what) + 1e-6
            for what in ("cores", "memory", "gpus")
        )
        assert (shared.left(tier, held) > 0) == fits
        held += [tier] * fits


def test_ten_tenths_of_a_core_are_one():
    assert room(cores=1).left(TENTH, [TENTH] * 9) == 1


def test_slots_are_counted_for_each_tier():
    slots = room(serve={"small": 2, "large": 1})
    assert slots.left(SMALL, [SMALL, LARGE]) == 1
    assert slots.left(LARGE, [SMALL, LARGE]) == 0
    assert slots.most() == 3


def test_tiers_that_do_not_fit_are_not_served():
    assert list(room().tiers) == ["tenth", "small", "large"], "no GPUs but those that are offered"
    assert list(room(cores=2, gpus=2).tiers) == ["tenth", "small", "gpu"]


@pytest.mark.parametrize(
    ("offer", "said"),
    [
        ({"cores": 9}, "9 cores and 16 GiB are offered, and this machine has 8 cores"),
        ({"memory": 17 * GIB}, "this machine has 8 cores and 16 GiB"),
        ({"memory": 1024}, "no tier fits: tenth needs"),
        ({"serve": {"gpu": 1}}, "needs 2 GPUs; this executor was given 0 (--gpus)"),
        ({"serve": {"gpu": 2}, "gpus": 3}, "4 GPUs are needed for all that is served"),
        ({"serve": {"colossal": 1}}, "there are tenth, small, large, gpu"),
    ],
)
def test_what_cannot_be_offered(offer: dict, said: str):
    with pytest.raises(TooBig) as problem:
        room(**offer)
    assert said in str(problem.value)


def test_each_run_has_gpus_to_itself_also_after_a_restart(tmp_path: Path):
    def opened() -> Ledger:
        return Ledger(tmp_path, "e", "host", 120, room(gpus=5), lambda: None)

    def gpus(ledger: Ledger) -> list[list[int]]:
        return sorted(holding.gpus for holding in ledger.holdings() if not holding.finished)

    def request(run_id: str) -> Request:
        return Request(attempt=Attempt(run_id=run_id, execution_id="e"), tier=GPU)

    ledger = opened()
    first = ledger.grant(request("r1"))
    assert first and ledger.grant(request("r2"))
    assert ledger.grant(request("r3")) is None, "one GPU is not enough"
    assert ledger.grant(request("r1")) == first
    assert gpus(ledger) == [[0, 1], [2, 3]]
    ledger = opened()
    ledger.forget(first.token)
    assert ledger.grant(request("r3"))
    assert gpus(ledger) == [[0, 1], [2, 3]]
    ledger.forget(next(holding.token for holding in ledger.holdings()))
    ledger.drain()
    assert ledger.grant(request("r4")) is None, "it takes nothing new"


def test_a_tiers_file_sets_all_limits(tmp_path: Path):
    file = tmp_path / "tiers.toml"
    file.write_text(
        '[big]\ncores = 2.5\nmemory = "4GiB"\ngpus = 2\npids = 99\nshm = "1GiB"\ndisk = "10GiB"\n'
        "default_time_limit = 60\nmax_time_limit = 3600\n"
    )
    big = Settings(tiers=file).tier_table["big"]
    assert (big.gpus, big.pids, big.shm, big.disk) == (2, 99, GIB, 10 * GIB)
    assert [big.time_limit(asked_for) for asked_for in (None, 5)] == [60, 5]


def test_a_greatest_time_limit_holds_for_those_who_ask_for_none():
    assert Tier(name="t", cores=1, memory=1, max_time_limit=10).time_limit(None) == 10
    assert Tier(name="t", cores=1, memory=1).time_limit(None) is None


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("gpus = -1", "big.gpus"),
        ("default_time_limit = 2\nmax_time_limit = 1", "greater than max_time_limit"),
        ("max_time_limit = 0", "big.max_time_limit"),
    ],
)
def test_a_tiers_file_that_cannot_be_is_named(tmp_path: Path, lines: str, said: str):
    (file := tmp_path / "tiers.toml").write_text(f'[big]\ncores = 1\nmemory = "1GiB"\n{lines}\n')
    with pytest.raises(SettingsError) as problem:
        _ = Settings(tiers=file).tier_table
    assert said in str(problem.value)
