"""A tiny archive in the formats of 0 A.D.: an animal with a hat, and a house."""

import io
import struct
import zipfile

import numpy as np
from PIL import Image

QUIET = (0.0, 0.0, 0.0, 1.0)
"""The rotation that changes nothing."""

ACTOR = """<actor version="1">
  <group>
    <variant frequency="1"><mesh>{mesh}</mesh>
      <textures><texture file="{texture}" name="baseTex"/></textures>{props}
      <animations><animation file="quadraped/wag.dae" name="idle"/></animations>
    </variant>
    <variant frequency="0" name="never"><mesh>skeletal/none.dae</mesh></variant>
  </group>
  <material>default.xml</material>
</actor>"""


def box(low, high, bone):
  """Returns the vertices, the faces and the bones of a closed box."""
  low, high = np.array(low, float), np.array(high, float)
  corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
  squares = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4),
             (1, 5, 7, 3)]  # fmt: skip
  faces = [face for a, b, c, d in squares for face in ((a, b, c), (a, c, d))]
  return low + corners * (high - low), np.array(faces), np.full(8, bone)


def animal():
  """Returns the parts of a sheep without legs: body, head, tail.

  It looks to z > 0, as the game's sheep does.
  """
  body = box((-0.3, 0, -1), (0.3, 0.6, 1), 3)
  head = box((-0.15, 0.4, 1), (0.15, 0.8, 1.4), 2)
  muzzle = box((-0.01, 0.5, 1.4), (0.01, 0.6, 1.5), 2)
  tail = box((-0.05, 0.4, -1.4), (0.05, 0.5, -1), 10)
  return merge(body, head, muzzle, tail)


def merge(*parts):
  """Joins boxes into one mesh."""
  counts = np.cumsum([0, *(len(points) for points, _, _ in parts)])
  return (
    np.concatenate([points for points, _, _ in parts]),
    np.concatenate([faces + at for (_, faces, _), at in zip(parts, counts)]),
    np.concatenate([bones for _, _, bones in parts]),
  )


def model_file(points, faces, bones, rest, anchors=()):
  """Returns the bytes of a model (PMD, version 4)."""
  content = struct.pack("<II", len(points), 1)
  middle = points.mean(0)
  for point, bone in zip(points, bones):
    normal = (point - middle) / max(np.linalg.norm(point - middle), 1e-9)
    content += struct.pack("<8f", *point, *normal, 0.25, 0.75)
    content += struct.pack("<4B4f", bone, 255, 255, 255, 1, 0, 0, 0)
  content += struct.pack("<I", len(faces)) + faces.astype("<u2").tobytes()
  content += struct.pack("<I", len(rest)) + np.asarray(rest, "<f4").tobytes()
  content += struct.pack("<I", len(anchors))
  for name, bone, place in anchors:
    content += struct.pack("<I", len(name)) + name.encode()
    content += struct.pack("<7fB", *place, *QUIET, bone)
  return b"PSMD" + struct.pack("<II", 4, len(content)) + content


def motion_file(frames):
  """Returns the bytes of a motion (PSA)."""
  frames = np.asarray(frames, "<f4")
  name = b"wag"
  content = struct.pack("<I", len(name)) + name
  content += struct.pack("<fII", 33.3, frames.shape[1], len(frames)) + frames.tobytes()
  return b"PSSA" + struct.pack("<II", 1, len(content)) + content


_LEGS = {
  "Arm": (0.3, 0.8), "Forearm": (0.2, 0.8), "Hand": (0.02, 0.8),
  "Leg": (0.3, -0.8), "Shin": (0.2, -0.8), "Foot": (0.02, -0.8),
}  # fmt: skip


def sheep_rest():
  """Returns the bones of the game's sheep at rest."""
  rest = np.zeros((23, 7))
  rest[:, 6] = 1
  rest[1, :3], rest[2, :3] = (0, 0.5, 0.8), (0, 0.6, 1)
  rest[3, :3], rest[10, :3] = (0, 0.3, 0.5), (0, 0.45, -1)
  for i, name in enumerate(SHEEP_BONES):
    word, _, side = name.partition("_")
    if word in _LEGS:  # it looks to z > 0, so that its left is at x < 0
      rest[i, :3] = (-0.28 if side == "Left" else 0.28, *_LEGS[word])
  return rest


SHEEP_BONES = (
  "ThreeBagsFull Neck Head Body_Front Body_Rear Pelvis_Left Leg_Left Shin_Left "
  "Foot_Left Pelvis_Right Tail Leg_Right Shin_Right Foot_Right Butt Shoulder_Left "
  "Arm_Left Forearm_Left Hand_Left Shoulder_Right Arm_Right Forearm_Right Hand_Right"
).split()


def write(path, *, turned=0.0):
  """Writes the archive; in its motion the head is turned up by so many radians."""
  rest = sheep_rest()
  frames = np.repeat(rest[None], 2, 0)
  frames[:, 2, 3:] = np.sin(turned / 2), 0, 0, np.cos(turned / 2)
  bones = "".join(f'<bone name="{name}"/>' for name in SHEEP_BONES)
  texture = np.zeros((8, 8, 4), np.uint8)
  texture[..., 3] = 255
  texture[4:, :, 0] = 200  # the lower half is red, the upper half green
  texture[:4, :, 1] = 200
  image = io.BytesIO()
  Image.fromarray(texture[::-1].copy()).save(image, "DDS")
  anchors = [("head", 2, (0, 0, 0.4)), ("root", 255, (0, 0, 0))]
  hat = box((-0.1, 0, -0.1), (0.1, 0.3, 0.1), 255)
  thing = merge(*(box((i, 0, 0), (i + 0.8, 1, 1), 255) for i in range(4)))
  prop = '<props><prop actor="props/hat.xml" attachpoint="head"/></props>'
  files = {
    "meshes/skeletal/sheep.dae.cached.pmd": model_file(*animal(), rest, anchors),
    "meshes/props/hat.dae.cached.pmd": model_file(*hat, np.zeros((0, 7))),
    "meshes/structural/house.dae.cached.pmd": model_file(*thing, np.zeros((0, 7))),
    "animation/quadraped/wag.dae.cached.psa": motion_file(frames),
    "textures/skins/skin.png.cached.dds": image.getvalue(),
    "textures/terrain/types/grass.png.cached.dds": image.getvalue(),
    "skeletons/sheep.xml": f"<skeletons><standard_skeleton>{bones}"
    "</standard_skeleton></skeletons>",
    "skeletons/biped.xml": '<skeletons><standard_skeleton><bone name="hip"/>'
    "</standard_skeleton></skeletons>",
    "actors/fauna/sheep1.xml": ACTOR.format(
      mesh="skeletal/sheep.dae", texture="skin.png", props=prop
    ),
    "actors/props/hat.xml": ACTOR.format(
      mesh="props/hat.dae", texture="skin.png", props=""
    ),
    "actors/structures/house.xml": ACTOR.format(
      mesh="structural/house.dae", texture="skin.png", props=""
    ),
  }
  with zipfile.ZipFile(path, "w") as archive:
    for name, content in files.items():
      archive.writestr(f"art/{name}", content)
  return path
