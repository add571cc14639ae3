"""The compiled kernels: wide accesses, several at once, no spills, no long divisions.

Nothing here needs a GPU. It needs the compiler, which the extra `cuda13` brings. `make
check-sass` reads the machine code of all kernels for three targets; here, those that decide.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
from kvbm_kernels import build
from kvbm_kernels.catalogue import FAST, NARROW
from kvbm_kernels.device import WHY_NOT
from kvbm_kernels.inspection import Code, of_ptx, of_sass

absent = [
    package
    for package in ("cuda.core", "cuda.bindings.nvvm", "cuda.bindings.nvjitlink")
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec(package) is None
]

compiles = pytest.mark.skipif(
    bool(WHY_NOT or absent),
    reason=WHY_NOT or f"not installed: {', '.join(absent)}; install the extra cuda13",
)
disassembles = pytest.mark.skipif(
    bool(WHY_NOT or absent) or build.disassembler() is None,
    reason=WHY_NOT or "nvdisasm is not installed; install the extra cuda13",
)

WRITERS, READERS = ("fill(",), ("verify(", "checksum_blocks(", "peak_blocks(")
"""Beginnings of the names of kernels that do only one of both."""

MOVERS = [each for each in FAST if each.name.startswith(("copy_blocks", "permute"))]


def names(kernel):
    return getattr(kernel, "name", None)


@compiles
@pytest.mark.parametrize("capability", [(8, 0), (9, 0)])
@pytest.mark.parametrize("kernel", FAST, ids=names)
def test_fast_paths_move_sixteen_bytes_at_a_time(kernel, capability) -> None:
    code = of_ptx(build.to_ptx(kernel, capability))
    assert not code.complaints()
    assert bool(code.wide_loads) is not kernel.name.startswith(WRITERS)
    assert bool(code.wide_stores) is not kernel.name.startswith(READERS)
    if kernel in MOVERS:
        assert code.wide_loads >= 4
        assert code.wide_stores >= 4


@compiles
@pytest.mark.parametrize("kernel", NARROW[::3], ids=names)
def test_narrow_twins_compile_and_keep_the_rules(kernel) -> None:
    code = of_ptx(build.to_ptx(kernel, (9, 0)))
    assert not code.complaints()
    assert not code.wide_loads + code.wide_stores


@compiles
@pytest.mark.parametrize("kernel", MOVERS, ids=names)
def test_movers_link_to_a_cubin_with_their_entry(kernel) -> None:
    cubin = build.to_cubin(kernel, (9, 0))
    assert build.entry(build.to_ptx(kernel, (9, 0))).encode() in cubin.code


@disassembles
@pytest.mark.parametrize("kernel", MOVERS, ids=names)
def test_four_loads_are_under_way_before_the_first_store(kernel) -> None:
    code = of_sass(build.disassemble(build.to_cubin(kernel, (9, 0))))
    assert not code.complaints()
    wide = [each for each in code.accesses if ".128" in each]
    assert [each[:3] for each in wide[:8]] == ["LDG"] * 4 + ["STG"] * 4


def test_the_cuda_packages_that_matter_are_named_with_their_versions() -> None:
    found = build.versions()
    assert found["numba"] != "absent"
    assert set(found) == set(build.PACKAGES)


def test_without_a_compiler_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(build, "WHY_NOT", "install the extra cuda13")
    with pytest.raises(RuntimeError, match="install the extra cuda13"):
        build.to_ptx(FAST[0], (7, 5))  # compiled nowhere else, so not remembered


def test_kernels_are_compared_by_what_makes_them() -> None:
    everything = FAST + NARROW
    assert len(set(everything)) == len(everything)
    assert len({each.name for each in everything}) == len(everything)
    assert everything[0].function is everything[0].function


def test_the_linker_is_told_the_whole_compute_capability(monkeypatch) -> None:
    seen = []
    core = SimpleNamespace(
        ObjectCode=SimpleNamespace(from_ptx=lambda ptx: ptx),
        LinkerOptions=lambda arch: arch,
        Linker=lambda code, options: (
            seen.append((code, options)) or SimpleNamespace(link=str.upper)
        ),
    )
    monkeypatch.setattr(build.driver, "core", lambda: core)
    monkeypatch.setattr(build, "to_ptx", lambda *_: "ptx")
    assert build.to_cubin(FAST[0], (8, 9)) == "CUBIN"
    assert seen == [(b"ptx", "sm_89")]


# ── the reader can complain ───────────────────────────────────────────────────────────────

PTX = """\
\tld.global.v2.u64 \t{%rd1, %rd2}, [%rd3];
\tld.global.v2.u64 \t{%rd4, %rd5}, [%rd6];
\tst.global.v2.u64 \t[%rd7], {%rd1, %rd2};
\tst.global.u8 \t[%rd8], %r1;
"""

SASS = """\
        /*0030*/              @!P0 EXIT ;
        /*00a0*/                   LDG.E.128 R4, desc[UR4][R2.64] ;
        /*00b0*/               @P1 STG.E.128 desc[UR4][R2.64], R4 ;
        /*00c0*/                   LDG.E.U8 R4, desc[UR4][R2.64] ;
"""


def test_accesses_of_ptx_are_counted() -> None:
    code = of_ptx(PTX)
    assert (code.instructions, code.wide_loads, code.wide_stores, code.in_flight) == (4, 2, 1, 2)
    assert len(code.accesses) == 4
    assert not code.complaints()


def test_a_narrow_load_does_not_end_a_run_of_wide_ones() -> None:
    wide, narrow, store = "LDG.E.128", "LDG.E.U8", "STG.E.128"
    assert Code(5, (wide, narrow, wide, store, wide), spills=0, divisions=0).in_flight == 2


def test_accesses_of_machine_code_are_counted() -> None:
    code = of_sass(SASS)
    assert code == Code(4, ("LDG.E.128", "STG.E.128", "LDG.E.U8"), spills=0, divisions=0)
    assert (code.wide_loads, code.wide_stores, code.in_flight) == (1, 1, 1)


@pytest.mark.parametrize(
    ("read", "line", "complaint"),
    [
        (of_ptx, "\tdiv.s64 \t%rd1, %rd2, %rd3;\n", "1 divisions of 64 bits"),
        (of_ptx, "\trem.u64 \t%rd1, %rd2, %rd3;\n", "1 divisions of 64 bits"),
        (of_ptx, "\t.local .align 16 .b8 \t__local_depot0[64];\n", "1 accesses to local memory"),
        (of_sass, "        /*0d10*/       LDL.64 R4, [R1] ;\n", "1 accesses to local memory"),
        (of_sass, "        /*10d10*/      STL [R1], R4 ;\n", "1 accesses to local memory"),
        (
            of_sass,
            "  /*0d10*/  CALL.REL.NOINC `($__internal_0_$__cuda_sm20_div_u64) ;\n",
            "1 divisions of 64 bits",
        ),
    ],
)
def test_what_should_not_be_in_a_kernel_is_seen(read, line, complaint) -> None:
    assert read(line).complaints() == [complaint]


# ── the command ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def check_sass(monkeypatch):
    """The command, for one kernel, with a disassembler that gives `SASS` and what is added."""
    program = Path(__file__).parents[2] / "kernels" / "check_sass.py"
    spec = importlib.util.spec_from_file_location("check_sass_program", program)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    monkeypatch.setattr(made, "WHY_NOT", "")
    monkeypatch.setattr(made, "FAST", FAST[:1])
    monkeypatch.setattr(made, "NARROW", ())
    monkeypatch.setattr(build, "disassembler", lambda: program)
    monkeypatch.setattr(build, "to_cubin", lambda *_: None)
    monkeypatch.setattr(build, "disassemble", lambda _: SASS)
    return made


def test_the_command_prints_a_line_for_each_target_and_is_content(check_sass, capsys) -> None:
    assert check_sass.main() == 0
    output = capsys.readouterr().out
    assert output.count(FAST[0].name) == len(check_sass.CAPABILITIES)
    assert output.endswith("no spills, no 64-bit divisions\n")


def test_the_command_fails_for_bad_code(check_sass, monkeypatch, capsys) -> None:
    bad = SASS + "        /*00d0*/                   STL [R1], R4 ;\n"
    monkeypatch.setattr(build, "disassemble", lambda _: bad)
    assert check_sass.main() == 1
    output = capsys.readouterr().out
    assert output.count("1 accesses to local memory") == len(check_sass.CAPABILITIES)
    assert output.endswith("3 bad\n")


def test_the_command_fails_where_nothing_can_be_read(check_sass, monkeypatch, capsys) -> None:
    monkeypatch.setattr(build, "disassembler", lambda: None)
    assert check_sass.main() == 1
    assert "nvdisasm is not installed" in capsys.readouterr().err
