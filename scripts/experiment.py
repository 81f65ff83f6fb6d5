"""What the experiments share: `shira` called, runs that are not repeated, tables and the page that they go into."""

import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


# ---------------------------------------------------------------------------------------- running


def shira_program():
    return pathlib.Path(os.environ.get("SHIRA_BIN", ROOT / "build" / "bin" / "shira"))


def shira(threads, *args):
    """What `shira ... --json` answers."""
    result = subprocess.run(
        [shira_program(), *map(str, args), "--json"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )
    if result.returncode != 0:
        raise SystemExit(f"shira {args[0]} failed:\n{result.stderr}")
    return json.loads(result.stdout)


def write_config(path, keys):
    path.write_text(json.dumps(keys, indent=1) + "\n")  # JSON is YAML
    return path


def train_once(folder, threads, keys):
    """What `shira train` answers; its result is in folder/out.

    A finished run with the same keys and data is not repeated, an interrupted one goes on, another one is removed.
    """
    keys = keys | {"output_dir": str(folder / "out"), "num_threads": threads}
    data = [checksum(dataset["path"]) for dataset in keys["datasets"]]
    wanted = json.dumps({"keys": keys, "data": data}, indent=1)
    run, answer = folder / "run.json", folder / "answer.json"
    if folder.exists() and not (run.exists() and run.read_text() == wanted):
        shutil.rmtree(folder)
    if not answer.exists():
        folder.mkdir(parents=True, exist_ok=True)
        run.write_text(wanted)
        config = write_config(folder / "config.yaml", keys)
        write_whole(answer, json.dumps(shira(threads, "train", config, "--resume")))
    return json.loads(answer.read_text())


def checksum(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def write_whole(path, text):
    """All of it or nothing, whenever the experiment is broken off."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.rename(path)


def make_data(script, folder, *flags):
    """Lets one of our generators (make_demo_data.py, make_quiz_data.py) write its files into the folder."""
    command = [sys.executable, ROOT / "scripts" / script, folder, *flags]
    subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL)


def split_text(path, folder):
    """(training file, held-out file): the last tenth of the lines is held out."""
    text = path.read_text()
    cut = text.rfind("\n", 0, len(text) * 9 // 10) + 1
    files = folder / "train.txt", folder / "held_out.txt"
    for file, part in zip(files, (text[:cut], text[cut:])):
        file.write_text(part)
    return files


def processor():
    names = re.findall(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return names[0] if names else platform.machine()


def parse_benchmark(parser, out, quick_help):
    """The parsed arguments of a benchmark with its peers: --threads, --out, --quick, and `python`, which has the peers' packages."""
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=pathlib.Path, default=out)
    parser.add_argument("--quick", action="store_true", help=quick_help)
    args = parser.parse_args()
    if args.quick and args.out == out:
        parser.error("--quick needs --out: its figures say nothing and must not replace the page's")
    args.python = ROOT / ".venv" / "bin" / "python"
    if not args.python.exists():
        args.python = pathlib.Path(sys.executable)
    return args


def numbers(text):
    return tuple(float(number) for number in text.split(","))


# ---------------------------------------------------------------------------------------- showing


def mean(values):
    return statistics.fmean(values)


def spread(values, sign=""):
    """mean ± standard deviation as text"""
    values = list(values)
    text = f"{mean(values):{sign}.3f}"
    return f"{text} ± {statistics.stdev(values):.3f}" if len(values) > 1 else text


def table(head, rows):
    return "\n".join(
        [
            "| " + " | ".join(head) + " |",
            "|---|" + "---:|" * (len(head) - 1),
            *("| " + " | ".join(row) + " |" for row in rows),
        ]
    )


def fill_page(page, begin, end, text, template=None):
    """Puts `text` between the page's two comments; a page that is not there starts as a copy of the template."""
    source = page if page.exists() else template
    before, rest = source.read_text().split(begin)
    after = rest.split(end)[1]
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
