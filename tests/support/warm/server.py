"""``python -I server.py SOCKET``: import what is slow once, and fork a process for every program asked for.

Says ``ready``, then serves until its standard input ends.
"""

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
import types

import torch
import transformers
import transformers.dynamic_module_utils
from safetensors.torch import load_file  # noqa: F401 -- what programs use
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM  # noqa: F401

LOOK_S = 0.02
"""How often a program is looked at."""


def serve(place):
    """Return the words of a program, in the process that is to run it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen()
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [], 1)
            reap()
            if sys.stdin in ready:
                os._exit(0)
            if listener in ready:
                channel, _ = listener.accept()
                if os.fork() == 0:
                    listener.close()
                    return keep(channel)
                channel.close()


def reap():
    """Take note of every process that has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def keep(channel):
    """Fork once more, and end as that process ends or as whoever asked for it does; in the fork, return its words."""
    _, streams, _, _ = socket.recv_fds(channel, 1, 3)
    request = json.loads(channel.makefile().readline())
    program = os.fork()
    if program == 0:
        channel.close()
        words = request.pop("words")
        become(streams, **request)
        return words
    for stream in streams:
        os.close(stream)
    while True:
        ended, status = os.waitpid(program, os.WNOHANG)
        if ended:
            break
        if select.select([channel], [], [], LOOK_S)[0]:  # nothing more is ever sent: the client is gone
            end(program)
    with contextlib.suppress(BrokenPipeError):
        channel.sendall(b"%d\n" % status)
    os._exit(0)


def end(program):
    """Kill a program and what belongs to it, as signals to a group of processes do."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            kill(program, signal.SIGKILL)


def become(streams, python, environment, folder):
    """Take over streams, environment and working folder; what transformers read of the environment is read again."""
    os.setsid()
    sys.executable = python
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    if modules := environment.get("HF_MODULES_CACHE"):
        for reader in (transformers.utils, transformers.utils.hub, transformers.dynamic_module_utils):
            reader.HF_MODULES_CACHE = modules
    os.chdir(folder)


def run(words):
    """Do what ``python WORD...`` does, for the options that tests and the product use."""
    options = []
    while words[0] in {"-I", "-B", "-P"}:
        options.append(words.pop(0))
    sys.dont_write_bytecode = "-B" in options or bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    if "-I" not in options:
        sys.path[:0] = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    kind = words[0] if words[0] in {"-c", "-m"} else "file"
    what = words[0] if kind == "file" else words.pop(1)
    sys.argv = words
    if kind == "-c":
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(what, "<string>", "exec"), main.__dict__)
    elif kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(what, run_name="__main__")


def run_and_end(words):
    """Run a program and end as it does, without taking apart the thousands of modules it was given."""
    code = 0
    try:
        run(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 -- as the interpreter does
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    torch.set_num_threads(1)
    gc.freeze()  # a collection in a fork would copy what it looks at
    run_and_end(serve(sys.argv[1]))
