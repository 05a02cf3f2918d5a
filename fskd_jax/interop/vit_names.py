"""Names of the vision transformers of DINOv2 and DINOv3, Meta's and transformers'.

The table has Meta's, which the files of its repositories have. `transformers` (in files
of the Hugging Face Hub) has other ones, by its version, and queries, keys and values
apart; they are translated.
"""

import re
from collections.abc import Mapping

import numpy as np

from fskd_jax.config import ModelConfig
from fskd_jax.models.vit import SIZES

UNUSED = ("mask_token", "rope_embed.")

_MASK = ".attn.qkv.bias_mask"
_TRANSLATIONS = (
  (r"^(dinov2|dinov2_with_registers|dinov3_vit)\.", ""),
  (r"^embeddings\.patch_embeddings\.(projection\.)?", "patch_embed.proj."),
  (r"^embeddings\.position_embeddings$", "pos_embed"),
  (r"^embeddings\.", ""),
  (r"^(encoder\.|model\.)?layer\.", "blocks."),
  (r"\.attention\.(attention\.)?(q|k|v)(_proj|uery|ey|alue)\.", r".attn.\2."),
  (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
  (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
  (r"\.mlp\.up_proj\.", ".mlp.fc1."),
  (r"\.mlp\.down_proj\.", ".mlp.fc2."),
  (r"^layernorm\.", "norm."),
)


def vit_names(model: ModelConfig) -> dict[str, str]:
  """Returns Meta's names of the modules and tokens of a `VisionTransformer`."""
  size = SIZES[model.encoder]
  names = {
    "embeddings/patches": "patch_embed.proj",
    "embeddings/cls_token": "cls_token",
    "embeddings/positions": "pos_embed",
    "embeddings/registers": "storage_tokens" if size.is_rotary else "register_tokens",
    "norm": "norm",
  }
  for i in range(size.depth):
    ours, theirs = f"block{i}", f"blocks.{i}"
    names |= {f"{ours}/{name}": f"{theirs}.{name}" for name in ("norm1", "norm2")}
    names |= {f"{ours}/{name}": f"{theirs}.mlp.{name}" for name in ("fc1", "fc2")}
    names |= {f"{ours}/scale{j}": f"{theirs}.ls{j}.gamma" for j in (1, 2)}
    names[f"{ours}/attention"] = f"{theirs}.attn.qkv"
    names[f"{ours}/attention/out_projection"] = f"{theirs}.attn.proj"
  return names


def translated(
  tensors: Mapping[str, np.ndarray], model: ModelConfig
) -> dict[str, np.ndarray]:
  """Translates the names of `transformers`; those of Meta stay.

  Of Meta's, the masks that take the bias from DINOv3's keys are applied and left out.
  """
  if not any("embeddings." in name for name in tensors):
    return {
      name: x * _mask(tensors, name) if name.endswith(".attn.qkv.bias") else x
      for name, x in tensors.items()
      if not name.endswith(_MASK)
    }
  renamed = {}
  for name, x in tensors.items():
    for pattern, replacement in _TRANSLATIONS:
      name = re.sub(pattern, replacement, name)
    if name == "register_tokens":
      name = vit_names(model)["embeddings/registers"]
    renamed[name] = x
  return _joined(renamed)


def _mask(tensors: Mapping[str, np.ndarray], name: str) -> np.ndarray:
  bias = tensors[name]
  mask = tensors.get(name.removesuffix(".bias") + ".bias_mask", np.ones_like(bias))
  return (mask != 0).astype(bias.dtype)


def _joined(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Joins queries, keys and values; keys without a bias get zeros."""
  joined = {}
  for name, x in tensors.items():
    if not re.search(r"\.attn\.[qkv]\.", name):
      joined[name] = x
    elif ".attn.q." in name:
      keys = tensors.get(name.replace(".attn.q.", ".attn.k."))
      values = tensors.get(name.replace(".attn.q.", ".attn.v."))
      if keys is None and name.endswith(".bias"):
        keys = np.zeros_like(x)
      parts = [part for part in (x, keys, values) if part is not None]
      joined[name.replace(".attn.q.", ".attn.qkv.")] = np.concatenate(parts)
  return joined
