"""Help of the sub-commands: their examples are commands that are taken."""

import argparse
import importlib
import shlex
import shutil
import subprocess

import pytest

from fskd_jax.cli import main


class _Parsed(BaseException):
  """Ends a command when its arguments have been parsed."""


@pytest.mark.parametrize("name", ("predict", "train", "adapt", "suggest", "demo"))
def test_examples_are_shown_and_parse(name, monkeypatch, capsys):
  with pytest.raises(SystemExit):
    main.main([name, "--help"])
  shown = capsys.readouterr().out.partition("examples:\n")[2]
  assert shown
  module = importlib.import_module(main.COMMANDS[name][0].partition(":")[0])
  assert shown.rstrip("\n") in module.__doc__
  parse = argparse.ArgumentParser.parse_args

  def parse_and_stop(self, args=None, namespace=None):
    parse(self, args, namespace)
    raise _Parsed

  monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
  for line in shown.replace("\n      ", " ").splitlines():
    program, *words = shlex.split(line)
    assert program == "fskd"
    with pytest.raises(_Parsed):
      main.main(words)


@pytest.mark.parametrize("shell", ("bash", "zsh"))
def test_a_shell_completes_commands_options_and_values(shell, tmp_path, capsys):
  program = shutil.which(shell) or pytest.skip(f"there is no {shell}")
  assert main.main(["completion", shell]) == 0
  script = tmp_path / "words.sh"
  script.write_text(capsys.readouterr().out)
  subprocess.run([program, "-n", str(script)], check=True)
  if shell == "zsh":
    return
  for words, expected in (
    (["pred"], "predict"),
    (["predict", "--min-conf"], "--min-confidence"),
    (["data", "conv"], "convert"),
    (["predict", "--support", "wor"], "words.sh"),
  ):
    ask = (
      f"source ./words.sh; COMP_WORDS=(fskd {' '.join(words)}); "
      f"COMP_CWORD={len(words)}; _shtab_fskd; echo ${{COMPREPLY[@]}}"
    )
    done = subprocess.run(
      [program, "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [expected], words
