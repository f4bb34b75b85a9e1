import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from widthwise.search.units import (
    format_compact,
    format_cost,
    format_count,
    format_memory,
    parse_cost,
    parse_count,
    parse_memory,
)

counts = st.one_of(st.integers(1, 5000), st.integers(1, 10**18))
units = st.sampled_from(["FLOPs", "MACs", "parameters", "neurons"])


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (2_000_000, "FLOPs", 2_000_000),
        (np.int64(7), "FLOPs", 7),
        (2e6, "FLOPs", 2_000_000),
        ("2000000", "FLOPs", 2_000_000),
        ("2_000_000", "FLOPs", 2_000_000),
        ("2,000,000", "FLOPs", 2_000_000),
        ("2e6", "FLOPs", 2_000_000),
        ("2M", "FLOPs", 2_000_000),
        (" 2 M ", "FLOPs", 2_000_000),
        ("2 MFLOPs", "FLOPs", 2_000_000),
        ("2M FLOPs", "FLOPs", 2_000_000),
        ("2 mflops", "FLOPs", None),
        ("2 Mflops", "FLOPs", 2_000_000),
        ("2000 FLOPs", "FLOPs", 2_000),
        ("1.5G", "FLOPs", 1_500_000_000),
        ("0.0015 MFLOPs", "FLOPs", 1_500),
        ("3 T", "FLOPs", 3 * 10**12),
        ("3P", "FLOPs", 3 * 10**15),
        ("1 MACs", "MACs", 1),
        ("3 MMACs", "MACs", 3_000_000),
        ("200k", "parameters", 200_000),
        ("200K", "parameters", 200_000),
        ("200k parameters", "parameters", 200_000),
        ("200,000 params", "parameters", 200_000),
        ("12 parameters", "parameters", 12),
    ],
    ids=str,
)
def test_reads_counts(value, unit, expected):
    if expected is None:
        with pytest.raises(ValueError, match="has a small m; write M for 1000\\^2 FLOPs"):
            parse_count(value, unit)
    else:
        assert parse_count(value, unit) == expected
        assert type(parse_count(value, unit)) is int


@pytest.mark.parametrize(
    ("value", "unit", "sentence"),
    [
        ("64 MiB", "FLOPs", "'64 MiB' is an amount of memory, expected a number of FLOPs"),
        ("64 MB", "FLOPs", "'64 MB' is an amount of memory, expected a number of FLOPs"),
        ("64 bytes", "parameters", "is an amount of memory, expected a number of parameters"),
        ("64 Mi", "FLOPs", "is an amount of memory"),
        ("1.5B", "parameters", "'1.5B' could mean bytes or billions; write G for 10^9 parameters"),
        ("2m", "FLOPs", "'2m' has a small m; write M for 1000^2 FLOPs"),
        ("2g", "FLOPs", "'2g' has a small g; write G for 1000^3 FLOPs"),
        ("1 GMACs", "FLOPs", "'1 GMACs' counts MACs, expected FLOPs (1 MAC is 2 FLOPs)"),
        ("1 MFLOPs", "MACs", "'1 MFLOPs' counts FLOPs, expected MACs (1 MAC is 2 FLOPs)"),
        ("1 MFLOPs", "parameters", "'1 MFLOPs' counts FLOPs, expected parameters; write"),
        ("200k params", "FLOPs", "'200k params' counts parameters, expected FLOPs; write"),
        ("2,5M", "FLOPs", "'2,5M' is not a number of FLOPs; write it like 2000000"),
        ("1,00", "FLOPs", "'1,00' is not a number of FLOPs"),
        ("2 apples", "FLOPs", "'2 apples' is not a number of FLOPs"),
        ("2 Z", "FLOPs", "'2 Z' is not a number of FLOPs"),
        ("M", "FLOPs", "'M' is not a number of FLOPs"),
        ("", "FLOPs", "'' is not a number of FLOPs"),
        ("-5", "FLOPs", "'-5' is not a number of FLOPs"),
        ("1e999999999", "FLOPs", "'1e999999999' is not a number of FLOPs"),
        ("9" * 5000, "FLOPs", "is not a number of FLOPs"),
        ("1.2345k", "parameters", "'1.2345k' is 1,234.5 parameters, expected a whole number"),
        (1.5, "FLOPs", "1.5 is not a number of FLOPs"),
        (float("nan"), "FLOPs", "nan is not a number of FLOPs"),
        (float("inf"), "FLOPs", "inf is not a number of FLOPs"),
        (True, "FLOPs", "True is not a number of FLOPs"),
        (None, "FLOPs", "None is not a number of FLOPs"),
        ([2], "FLOPs", "[2] is not a number of FLOPs"),
        (0, "FLOPs", "0 is 0 FLOPs, expected at least 1"),
        (-3, "FLOPs", "-3 is -3 FLOPs, expected at least 1"),
        ("0k", "FLOPs", "'0k' is 0 FLOPs, expected at least 1"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_refuses_what_is_no_count(value, unit, sentence):
    with pytest.raises(ValueError) as refused:
        parse_count(value, unit)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (123, 123),
        (1024.0, 1024),
        ("123 B", 123),
        ("100 B", 100),
        ("100 bytes", 100),
        ("512 KiB", 512 * 2**10),
        ("64 MiB", 64 * 2**20),
        ("64MiB", 64 * 2**20),
        ("64 mib", 64 * 2**20),
        ("1.5 GiB", 3 * 2**29),
        ("63.9 MiB", 67_004_006),
        ("1 kB", 1000),
        ("1 KB", 1000),
        ("64 MB", 64_000_000),
        ("1 GB", 10**9),
        ("2 TiB", 2**41),
        ("1,024 MiB", 2**30),
    ],
    ids=str,
)
def test_reads_memory(value, expected):
    assert parse_memory(value) == expected


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("123", "expected an amount of memory with its unit"),
        (
            "64M",
            "'64M' could be read in two ways; write '64 MiB' (1 MiB is 1024^2 bytes) "
            "or '64 MB' (1000^2 bytes)",
        ),
        ("64 Mb", "'64 Mb' could be read in two ways; write '64 MiB'"),
        ("64 mb", "'64 mb' could be read in two ways; write '64 MiB'"),
        ("64 Mi", "'64 Mi' could be read in two ways; write '64 MiB'"),
        ("8k", "'8k' could be read in two ways; write '8 KiB' (1 KiB is 1024^1 bytes) or '8 kB'"),
        ("2 MFLOPs", "'2 MFLOPs' is not an amount of memory; write it like \"64 MiB\""),
        ("64 potatoes", "is not an amount of memory"),
        ("lots", "is not an amount of memory"),
        ("0.5 B", "'0.5 B' is 0 bytes, expected at least 1"),
        (0, "0 is 0 bytes, expected at least 1"),
        (2.5, "2.5 is not an amount of memory"),
        (False, "False is not an amount of memory"),
        (None, "None is not an amount of memory"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_refuses_what_is_no_memory(value, sentence):
    with pytest.raises(ValueError) as refused:
        parse_memory(value)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (format_count(4392), "4,392"),
        (format_compact(2_000_000, "FLOPs"), "2 MFLOPs"),
        (format_compact(1_999_999, "FLOPs"), "2 MFLOPs"),
        (format_compact(4392, "parameters"), "4.39k parameters"),
        (format_compact(4392, "parameters", round_up=True), "4.4k parameters"),
        (format_compact(4392), "4.39k"),
        (format_compact(999_999, "MACs"), "1 MMACs"),
        (format_compact(0, "FLOPs"), "0 FLOPs"),
        (format_compact(999), "999"),
        (format_compact(10**21, "FLOPs"), "1,000,000 PFLOPs"),
        (format_memory(0), "0 B"),
        (format_memory(1023), "1,023 B"),
        (format_memory(66_900_000), "63.8 MiB"),
        (format_memory(66_900_000, round_up=True), "63.9 MiB"),
        (format_memory(66_900_000, decimal=True), "66.9 MB"),
        (format_memory(2**20 - 1), "1 MiB"),
        (format_memory(3 * 2**29), "1.5 GiB"),
    ],
    ids=lambda text: str(text),
)
def test_formats(text, expected):
    assert text == expected


@pytest.mark.parametrize(
    ("name", "text", "amount", "formatted"),
    [
        ("parameters", "4.392k", 4392, "4,392"),
        ("trainable_parameters", "4392", 4392, "4.39k"),
        ("flops", "2 MFLOPs", 2_000_000, "2M"),
        ("macs", "1 MMACs", 1_000_000, "1M"),
        ("train_memory", "64 MiB", 64 * 2**20, "64 MiB"),
        ("file_size", "1 kB", 1000, "1,000 B"),
        ("latency", "5 ms", 0.005, "5 ms"),
    ],
)
def test_a_cost_is_read_and_formatted_by_its_unit(name, text, amount, formatted):
    assert parse_cost(name, text) == amount
    assert format_cost(name, amount) == formatted


@given(counts, units)
def test_every_digit_formatted_is_read_back(number, unit):
    assert parse_count(format_count(number), unit) == number


@given(counts, units)
def test_what_is_formatted_is_read_back_to_three_digits(number, unit):
    assert abs(parse_count(format_compact(number, unit), unit) - number) <= 0.005 * number


@given(counts, units)
def test_what_is_rounded_up_is_never_less(number, unit):
    read = parse_count(format_compact(number, unit, round_up=True), unit)
    assert number <= read <= 1.01 * number
    # What is short already is not rounded up further.
    assert format_compact(read, unit, round_up=True) == format_compact(number, unit, round_up=True)


@given(counts, st.booleans())
def test_formatted_memory_is_read_back_to_three_digits(size, decimal):
    near = parse_memory(format_memory(size, decimal=decimal))
    assert abs(near - size) <= 0.0051 * size + 1
    assert (
        size
        <= parse_memory(format_memory(size, round_up=True, decimal=decimal))
        <= 1.011 * size + 1
    )


@pytest.mark.parametrize("parse", [parse_count, parse_memory])
@given(text=st.one_of(st.text(max_size=12), st.from_regex(r"\d+[.,]?\d* ?[kKMGmiBb]{0,3}")))
def test_any_text_is_a_positive_number_or_refused_by_name(parse, text):
    try:
        outcome = parse(text)
    except ValueError as error:
        outcome = str(error)
    assert repr(text) in outcome if isinstance(outcome, str) else outcome >= 1
