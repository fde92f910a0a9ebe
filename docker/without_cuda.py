"""Cuts CUDA out of an installed PyTorch whose only build at hand has it.

    python docker/without_cuda.py SITE_PACKAGES

PyTorch's own index has builds for CPUs. The ordinary one has, for Linux, only builds for CUDA, which load
the CUDA libraries even where no GPU is. What only a GPU needs is removed, and one small library takes the
place of all of it: it has the symbols that the rest refers to. Those of CUDA's functions say that there is
no device (100, cudaErrorNoDevice), PyTorch's own say zero, so that ``torch.cuda.is_available()`` is false.
``torch.distributed`` goes too, as in builds without it: to load it makes objects of the GPU's part.

Needs gcc, patchelf, and nm of binutils. Raises CalledProcessError when one of them fails.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

GPU_ONLY = (
    "torch/lib/libtorch_cuda*.so",
    "torch/lib/libc10_cuda.so",
    "torch/lib/libtorch_nvshmem.so",
    "torch/lib/libcaffe2_nvrtc.so",
    "torchvision.libs/libcudart*",
    "torchvision.libs/libnvjpeg*",
)
CUDA = re.compile(r"lib(cu|nv|nccl)")  # names of libraries, and versions of their symbols
RETURNS_REFERENCE = ("_ZN4c10d15get_gil_checkerEv",)  # to what PyTorch sets while it is loaded
CLASS_TYPE_INFO = "_ZTVN10__cxxabiv117__class_type_infoE"
NO_DEVICE = 100
STAND_IN = "libwithout_cuda.so"


def cut(site: Path) -> None:
    """Put one stand-in below ``site`` for all that only a GPU needs, and have PyTorch say so."""
    removed = {file for pattern in GPU_ONLY for file in site.glob(pattern)}
    kept = {file for folder in ("torch", "torchvision") for file in site.glob(f"{folder}/**/*.so*")} - removed
    ours = {name for library in kept for name, _ in symbols(library, "--defined-only")}
    of_gpu: dict[str, str] = {}
    for library in removed:
        of_gpu |= {name: letter for (name, _), letter in symbols(library, "--defined-only").items()}

    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for library in kept:
        for name, version in symbols(library, "--undefined-only"):
            foreign = CUDA.match(version) if version else name in of_gpu or name.startswith("cu")
            if foreign and name not in ours:
                wanted[version].add(name)

    gone = {file.name for file in removed}
    for file in removed:
        file.unlink()
    compile_stand_in(site / "torch/lib" / STAND_IN, wanted, of_gpu)
    for library in kept:
        needed = output("patchelf", "--print-needed", library).split()
        missing = [name for name in needed if name in gone or CUDA.match(name)]
        if missing:
            changes = [word for name in missing for word in ("--replace-needed", name, STAND_IN)]
            output("patchelf", *changes, library)

    replace(site / "torch/backends/cuda/__init__.py", b"return torch._C._has_cuda", b"return False")
    for part in (b"_c10d", b"_rpc"):  # asked for by name before torch.distributed is loaded
        replace(site / "torch/lib/libtorch_python.so", part + b"_init\0", part + b"_gone\0")


def symbols(library: Path, kind: str) -> dict[tuple[str, str], str]:
    """Letter of nm by (name, version or ""); ``kind`` is ``--defined-only`` or ``--undefined-only``."""
    found = {}
    for line in output("nm", "-D", kind, library).splitlines():
        letter, name = line.split()[-2:]
        if letter not in "wv":  # what is weak may stay away
            plain, _, version = name.replace("@@", "@").partition("@")
            found[plain, version] = letter
    return found


def compile_stand_in(target: Path, wanted: dict[str, set[str]], letters: dict[str, str]) -> None:
    """A library with the wanted symbols of each version, functions but where nm's letter says data."""
    source, versions = ["static long nothing[64];", f"extern char {CLASS_TYPE_INFO}[];"], []
    for version, names in wanted.items():
        source += [definition(name, letters.get(name, "T")) for name in sorted(names)]
        if version:
            versions.append(f"{version} {{ global: {'; '.join(sorted(names))}; }};")
    code, script = target.with_suffix(".c"), target.with_suffix(".map")
    code.write_text("\n".join(source))
    script.write_text("\n".join(versions))
    link = f"-Wl,-soname,{STAND_IN},--version-script={script}"
    output("gcc", "-w", "-fno-builtin", "-shared", "-fPIC", link, code, "-l:libstdc++.so.6", "-o", target)
    code.unlink()
    script.unlink()


def definition(name: str, letter: str) -> str:
    if name.startswith("_ZTI"):  # of a type: what sort it is, and its name
        return f'void *{name}[64] = {{{CLASS_TYPE_INFO} + 16, "{name[4:]}"}};'
    if letter not in "TW":
        return f"long {name}[64];"
    of_pytorch = "(long)nothing" if name in RETURNS_REFERENCE else "0"
    result = of_pytorch if name.startswith("_Z") else NO_DEVICE
    return f"long {name}(void) {{ return {result}; }}"


def replace(file: Path, old: bytes, new: bytes) -> None:
    """:raises ValueError: the file does not have it, so that this PyTorch is another than we know"""
    content = file.read_bytes()
    if old not in content:
        raise ValueError(f"{file} has no {old!r}")
    file.write_bytes(content.replace(old, new))


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    cut(Path(sys.argv[1]))
