"""The command line of benches/run."""

import argparse
import importlib
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from lib.bench import Bench, machine  # noqa: E402

BENCHES = ["accept", "durable", "sftp", "pipeline", "memory"]


def main():
    parser = argparse.ArgumentParser(prog="benches/run", description="faxbridge beside its peers, measured in the same run")
    parser.add_argument("bench", nargs="*", choices=[*BENCHES, []], help="all of them when none is named")
    parser.add_argument("--program", type=pathlib.Path, help="the faxbridge to measure [default: target/release/faxbridge]")
    parser.add_argument("--dir", type=pathlib.Path, help="folder on the disk to measure on [default: that of temporary files]")
    parser.add_argument("--rounds", type=int, help="how often each case is measured")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything: to see that it works, not how fast")
    parser.add_argument("--keep", action="store_true", help="leave the work folder behind")
    options = parser.parse_args()
    if options.program is None:
        options.program = pathlib.Path(__file__).resolve().parents[2] / "target/release/faxbridge"
    if not options.program.exists():
        parser.error(f"{options.program} is not there: cargo build --release, or --program FILE")
    # So that the processes of a bench that is ended from outside are ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for name in options.bench or BENCHES:
        with Bench(options) as bench:
            print(f"## {name}\n\n{machine(bench.dir)}\n", flush=True)
            importlib.import_module(name).main(bench, options)


main()
