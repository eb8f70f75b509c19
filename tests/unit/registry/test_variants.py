"""afield_registry.variants: what follows from arguments and options."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afield._wire.functions import Batching, Concurrency, FunctionRecord, MethodSpec, Options, Scaling
from afield_registry import apps, variants
from support.records import app, spec

BASE = apps.function_record(
    replace(app(), functions={"C": "cs-1"}),
    spec("C", methods={"m": MethodSpec()}, scaling=Scaling(max_containers=8), env={"A": "1"}),
    4,
    {},
)


def made(params: bytes = b"", options: Options | None = None) -> FunctionRecord:
    return variants.bound(BASE, params, options, 4, None)


@pytest.mark.parametrize(
    ("old", "new", "both"),
    [
        (None, None, None),
        (Options(), Options(), None),
        (Options(env={}), Options(labels={}), None),
        (Options(cpu=1.0), None, Options(cpu=1.0)),
        (Options(cpu=1.0, timeout=9.0), Options(timeout=5.0), Options(cpu=1.0, timeout=5.0)),
        (Options(cpu=1.0, cpu_limit=2.0), Options(cpu=3.0), Options(cpu=3.0)),
        (Options(cpu=1.0, cpu_limit=2.0), Options(gpu=()), Options(cpu=1.0, cpu_limit=2.0, gpu=())),
        (Options(memory_mib=64, memory_limit_mib=99), Options(memory_mib=8), Options(memory_mib=8)),
        (Options(env={"A": "1"}), Options(env={"B": "2", "A": "3"}), Options(env={"A": "3", "B": "2"})),
        (
            Options(labels={"region": ("eu",)}),
            Options(labels={"cloud": ("own",)}),
            Options(labels={"cloud": ("own",), "region": ("eu",)}),
        ),
        (
            Options(batching=Batching(max_batch_size=2, wait_ms=1)),
            Options(concurrency=Concurrency(max_inputs=3)),
            Options(batching=Batching(max_batch_size=2, wait_ms=1), concurrency=Concurrency(max_inputs=3)),
        ),
    ],
)
def test_merged(old: Options | None, new: Options | None, both: Options | None) -> None:
    """None is as before; a resource is said as a whole; variables and labels are added."""
    assert variants.merged(old, new) == both


@given(st.permutations(["A", "B", "C", "D"]), st.permutations(["A", "B", "C", "D"]))
def test_order_of_names_makes_no_difference(one: list[str], two: list[str]) -> None:
    """Equal options are one variant."""
    ids = {
        variants.variant_id("cs-1", b"p", variants.merged(None, Options(env=dict.fromkeys(names, "1"))))
        for names in (one, two)
    }
    assert len(ids) == 1


def test_ids_tell_base_arguments_and_options_apart() -> None:
    """Whatever differs is another variant, and each names its base."""
    ids = {
        variants.variant_id(base, params, options)
        for base in ("cs-1", "cs-2")
        for params in (b"", b"p", b"q")
        for options in (None, Options(cpu=1.0), Options(timeout=1.0))
    }
    assert len(ids) == 18
    assert all(variants.belongs_to(each, "cs-1") != variants.belongs_to(each, "cs-2") for each in ids)
    assert not variants.belongs_to("cs-1", "cs-1")


def test_a_variant_is_a_record_of_its_own() -> None:
    """Under the same app, with its options applied and its arguments kept."""
    record = made(b"p", Options(timeout=5.0, env={"B": "2"}))
    assert record.function_id.startswith("cs-1-")
    assert (record.base_id, record.app_id, record.version) == ("cs-1", "ap-1", 1)
    assert (record.spec.timeout, record.spec.env, record.params) == (5.0, {"A": "1", "B": "2"}, b"p")
    assert record.options == Options(timeout=5.0, env={"B": "2"})
    assert variants.bound(BASE, b"p", record.options, 64, record) == record


def test_new_base_means_new_variants() -> None:
    """A variant follows its base, and is a new version only if that changes something for it."""
    variant = made(options=Options(timeout=5.0))
    same = replace(BASE, spec=replace(BASE.spec, timeout=77.0), version=2)
    assert variants.derived(same, variant) == variant
    other = replace(BASE, spec=replace(BASE.spec, code=replace(BASE.spec.code, module="new")), version=2)
    derived = variants.derived(other, variant)
    assert (derived.version, derived.spec.code.module, derived.spec.timeout) == (2, "new", 5.0)
    assert derived.function_id == variant.function_id


def test_scale_of_a_variant_lasts_until_its_base_is_published() -> None:
    """To ask for the variant again keeps it; to publish the base undoes it, without a new version."""
    variant = made(b"p")
    scaled = replace(variant, spec=replace(variant.spec, scaling=Scaling(min_containers=3)))
    assert variants.derived(BASE, scaled) == scaled
    assert variants.republished(BASE, scaled) == variant
