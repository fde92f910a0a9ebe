"""bfloat16 arithmetic where the device has it."""

from __future__ import annotations

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 there: CPUs without instructions for it only imitate it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def autocast(device: torch.device, bfloat16: bool) -> torch.autocast:
    """Arithmetic in bfloat16 if it is wanted and the device has it.

    Without autocast's cache: weights that were cast while captions were drawn would carry no gradient.
    """
    return torch.autocast(
        device.type, torch.bfloat16, enabled=bfloat16 and has_bfloat16(device), cache_enabled=False
    )
