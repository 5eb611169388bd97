"""How much of the project one has to read to follow a picture through demo.py."""

import subprocess
import sys

from tests.commands import ROOT

FILES, FUNCTIONS = 54, 350

# Counts in a process of its own what is called once all is imported; what imports run counts for nothing
COUNTING = """
import sys, threading
import demo
root, passed = sys.argv.pop(1), set()
def watch(frame, event, _):
    file, name = frame.f_code.co_filename, frame.f_code.co_qualname
    if event != "call" or not file.startswith(root) or "site-packages" in file or "<" in name.split(".")[-1]:
        return
    outer = frame
    while outer := outer.f_back:
        if "importlib" in outer.f_code.co_filename:
            return
    passed.add((file, name))
threading.setprofile(watch)
sys.setprofile(watch)
demo.main(sys.argv[1:])
sys.setprofile(None)
print(len({file for file, _ in passed}), len(passed))
"""


def test_a_picture_passes_few_files_and_functions(tmp_path) -> None:
    options = ("--input", "load/samples/chelsea.png", "--scale", "2", "--output", str(tmp_path / "o.png"))
    command = [sys.executable, "-c", COUNTING, str(ROOT), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    files, functions = map(int, done.stdout.split()[-2:])
    assert files <= FILES
    assert functions <= FUNCTIONS
