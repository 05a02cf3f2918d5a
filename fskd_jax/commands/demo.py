"""fskd demo: a local web page to click keypoints and to find them in other pictures.

Needs the extra fskd-jax[demo]. The page loads nothing from elsewhere and sends nothing
anywhere; uploaded pictures are removed when the command ends (Ctrl-C).
"""

import argparse
import importlib.util
import logging
import os
import pathlib
import signal
import tempfile
from typing import Any

_POLICY = (
  "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; form-action 'self'"
)
"""The browser refuses whatever the page's libraries would fetch from other hosts."""


def add_parser(commands: argparse._SubParsersAction) -> None:
  """Declares the command."""
  parser = commands.add_parser(
    "demo",
    help="click keypoints on a local web page",
    description=__doc__,
  )
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--workdir", help="folder of a run")
  source.add_argument("--weights", help=".safetensors file of fskd export")
  parser.add_argument(
    "--host",
    default="127.0.0.1",
    help="address to listen on; others than %(default)s let other machines in",
  )
  parser.add_argument("--port", type=int, default=7860, help="%(default)s")
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Serves the page until it is interrupted."""
  if importlib.util.find_spec("gradio") is None:
    raise ImportError("the demo needs gradio: pip install 'fskd-jax[demo]'")
  logging.basicConfig(format="%(message)s")
  signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
  with tempfile.TemporaryDirectory(prefix="fskd_demo_") as folder:
    os.environ.update(  # gradio reads them when it is imported
      GRADIO_ANALYTICS_ENABLED="False",
      GRADIO_TEMP_DIR=folder,
      HF_HUB_OFFLINE="1",
    )
    _serve(args, pathlib.Path(folder))
  return 0


def _serve(args: argparse.Namespace, folder: pathlib.Path) -> None:
  from starlette.middleware import Middleware  # pyright: ignore[reportMissingImports]

  from fskd_jax.demo import examples, page
  from fskd_jax.predictor import load

  detector = load(args.workdir or args.weights)
  blocks = page.DemoPage(detector, examples.make(detector.config.data), folder).build()
  blocks.launch(
    server_name=args.host,
    server_port=args.port,
    share=False,
    quiet=True,
    inbrowser=False,
    footer_links=[],
    ssr_mode=False,
    app_kwargs={"middleware": [Middleware(_WithPolicy)]},
    theme=page.THEME,
    css=page.CSS,
    prevent_thread_lock=True,
  )
  print(f"fskd demo: http://{args.host}:{args.port} (Ctrl-C ends it)", flush=True)
  blocks.block_thread()


class _WithPolicy:
  """Adds the policy to every response (ASGI middleware)."""

  def __init__(self, app: Any):
    self._app = app

  async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
    async def send_with_policy(message: Any) -> None:
      if message["type"] == "http.response.start":
        header = (b"content-security-policy", _POLICY.encode())
        message = {**message, "headers": [*message["headers"], header]}
      await send(message)

    await self._app(scope, receive, send_with_policy)
