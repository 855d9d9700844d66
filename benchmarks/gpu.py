"""The acceptance run of GPU workers: how full the device is, alone, with its copies, and behind several workers.

    python -m benchmarks.gpu --encoder ViT-B-32:laion2b_s34b_b79k
    python -m benchmarks.gpu --encoder local-dir:/path/to/encoder --devices cuda:0,cuda:1 --workers 2,4

* model alone: batches that lie on the device already, so that next to nothing but the arithmetic is timed;
* with copies: from pixels in ordinary memory, staged by a thread of its own, to vectors and tokens in ordinary memory;
* workers: processes of their own, from rows in PostgreSQL and files on disk to features, tokens and index rows
  committed. They share one catalogue; the run fails unless each picture was embedded exactly once.

Stores are this run's own, or those in DATABASE_URL and MILVUS_URI, whose data is added to. ``--devices cpu`` does the
same on a processor: slow, and a way to see that the run itself works.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import torch
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker
from torch import Tensor

from backend.blobs import BlobStore
from backend.catalog.models import Feature
from backend.catalog.pictures import decode
from backend.db import connect, session_factory, session_scope
from backend.generations.audit import compare
from backend.generations.bootstrap import ensure_live
from backend.generations.encoders import DEMO_ENCODER
from backend.generations.features import fitting_batch, fitting_decoders
from backend.ml.encoder import Encoder, EncoderUnavailableError, ImageFeatures, load_encoder
from backend.vector_index import VectorIndex
from benchmarks.ingest import drawn, make_ingest, milvus, postgres, put_catalogue, read_pictures

LEAST_S = 2.0
"""Each number is measured for at least this long."""


def main() -> None:
    """Run and print, or be one of the workers."""
    options = parse()
    if options.work:
        work(options)
        return
    try:
        encoder = opened(options, options.devices[0])
    except EncoderUnavailableError as error:
        sys.exit(str(error))
    print_machine(encoder, options)
    pictures = read_pictures(options.images, 64) if options.images else [drawn(n, options.side) for n in range(64)]
    pixels = [encoder.preprocess(decode(data)) for data in pictures]
    print_batches(encoder, pixels, options)
    best = options.batch or fitting_batch(encoder)
    alone = model_alone(encoder, spread(pixels, best))
    print_decoding(pictures, encoder)
    if options.workers:
        print_workers(options, encoder, alone)


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="demo", help="demo, local-dir:PATH, NAME:PRETRAINED or hf-hub:ID")
    parser.add_argument("--devices", type=listed, default=["cuda"], help="workers take them in turns: cuda:0,cuda:1")
    parser.add_argument(
        "--workers", type=numbers, default=[1, 2, 4], help="numbers of processes to try; empty for none"
    )
    parser.add_argument("--batches", type=numbers, default=[32, 64, 128, 256, 512], help="sizes to try on the device")
    parser.add_argument("--batch", type=int, default=0, help="size the workers use; 0 takes the program's own choice")
    parser.add_argument("--decoders", type=int, default=0, help="threads of a worker that decode; 0 as above")
    parser.add_argument("--count", type=int, default=8192, help="pictures for each number of workers")
    parser.add_argument("--images", type=Path, help="zip or folder of pictures; drawn ones where none is given")
    parser.add_argument("--side", type=int, default=640, help="pixels a side of those that are drawn")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16", "fp16"])
    parser.add_argument("--tokens", default="int8", choices=["off", "pooled", "int8", "fp16"])
    parser.add_argument(
        "--threads", type=int, default=0, help="torch threads of a process, where it encodes on the CPU"
    )
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def listed(text: str) -> list[str]:
    """``a,b`` -> its parts."""
    return [part for part in text.split(",") if part]


def numbers(text: str) -> list[int]:
    """``1,2`` -> its numbers."""
    return [int(part) for part in listed(text)]


def opened(options: argparse.Namespace, device: str) -> Encoder:
    """The encoder, on ``device``."""
    return load_encoder(
        options.encoder,
        device=device,
        precision=options.precision,
        threads=options.threads,
        demo_dir=DEMO_ENCODER,
    )


def print_machine(encoder: Encoder, options: argparse.Namespace) -> None:
    """What was measured on."""
    names = [torch.cuda.get_device_name(device) if device.startswith("cuda") else device for device in options.devices]
    cores = len(os.sched_getaffinity(0))
    print(f"{encoder.id} in {encoder.precision} ({encoder.precision_note}) on {', '.join(names)}")
    print(f"{cores} cores, torch {torch.__version__}, CUDA {torch.version.cuda}, tokens {options.tokens}\n")


def print_batches(encoder: Encoder, pixels: Sequence[Tensor], options: argparse.Namespace) -> None:
    """How many pictures a second by batch, alone and with the copies."""
    print("| batch | model alone, images/s | with copies, images/s | share | memory of the device, MiB |")
    print("|---|---|---|---|---|")
    for size in options.batches:
        some = spread(pixels, size)
        if encoder.overlaps:
            torch.cuda.reset_peak_memory_stats(options.devices[0])
        alone = model_alone(encoder, some)
        copies = with_copies(encoder, some, options)
        memory = f"{torch.cuda.max_memory_allocated(options.devices[0]) / 2**20:.0f}" if encoder.overlaps else "-"
        print(f"| {size} | {alone:.0f} | {copies:.0f} | {copies / alone:.2f} | {memory} |", flush=True)
    print()


def print_decoding(pictures: Sequence[bytes], encoder: Encoder) -> None:
    """What one worker's decoders can deliver at most."""
    from concurrent.futures import ThreadPoolExecutor

    threads = fitting_decoders(encoder)

    def load(data: bytes) -> Tensor:
        pixels: Tensor = encoder.preprocess(decode(data))
        return pixels

    with ThreadPoolExecutor(threads) as pool:
        found = rate(len(pictures), lambda: [*pool.map(load, pictures)])
    kilobytes = sum(map(len, pictures)) / len(pictures) / 1000
    print(f"{threads} threads of one process decode {found:.0f} pictures/s of {kilobytes:.0f} KB\n", flush=True)


def spread(pixels: Sequence[Tensor], size: int) -> list[Tensor]:
    """``size`` pictures, the given ones over and over."""
    return [pixels[n % len(pixels)] for n in range(size)]


def model_alone(encoder: Encoder, pixels: Sequence[Tensor]) -> float:
    """Pictures a second of a batch that lies on the device; of the results only the vectors come back."""
    batch = encoder.stage_images(pixels)
    stream = encoded(encoder, lambda: batch, tokens=False)
    return rate(len(pixels), lambda: next(stream))


def encoded(encoder: Encoder, batch: Callable[[], Tensor], *, tokens: bool) -> Iterator[ImageFeatures]:
    """Features of one batch after the other, each begun before the last one is back."""
    begun = encoder.begin_images(batch(), tokens=tokens)
    while True:
        following = encoder.begin_images(batch(), tokens=tokens)
        yield begun.result()
        begun = following


def rate(size: int, step: Callable[[], object]) -> float:
    """Pictures a second of ``step``, which takes ``size`` of them; the first call is not timed."""
    step()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < LEAST_S:
        step()
        steps += 1
    return size * steps / (time.perf_counter() - began)


def with_copies(encoder: Encoder, pixels: Sequence[Tensor], options: argparse.Namespace) -> float:
    """Pictures a second from pixels in ordinary memory to arrays in ordinary memory, as the embed stage does it."""
    staged: Queue[Tensor] = Queue(2)
    over = threading.Event()

    def stage() -> None:
        while not over.is_set():
            staged.put(encoder.stage_images(pixels))

    thread = threading.Thread(target=stage, daemon=True)
    thread.start()

    stream = encoded(encoder, staged.get, tokens=options.tokens != "off")
    found = rate(len(pixels), lambda: next(stream))
    over.set()
    while thread.is_alive():
        while not staged.empty():
            staged.get()
        thread.join(0.05)
    return found


@dataclass(frozen=True)
class Shared:
    """What several workers did with one catalogue."""

    images: list[int]
    embedded_s: float
    all_s: float


def print_workers(options: argparse.Namespace, encoder: Encoder, alone: float) -> None:
    """How many pictures a second by number of workers, and that none was embedded twice."""
    print(f"{options.count} pictures for each row. Model alone, batches of the workers' size: {alone:.0f} images/s")
    print("| workers | embedded and committed, images/s | share of the model alone | with the index, images/s | each |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="mlgpu") as name, postgres(Path(name)) as url, milvus(Path(name)) as uri:
        from backend.migrate import migrate

        engine = connect(url)
        migrate(engine)
        sessions, index, first = session_factory(engine), VectorIndex(uri), 0
        with session_scope(sessions) as session:
            build = ensure_live(session, index, encoder)
        for count in options.workers:
            done = shared(options, encoder, (sessions, index), (url, uri, name), count, first)
            first += options.count
            speed, indexed = options.count / done.embedded_s, options.count / done.all_s
            each = " + ".join(map(str, done.images))
            print(f"| {count} | {speed:.0f} | {speed / alone:.2f} | {indexed:.0f} | {each} |", flush=True)
        with session_scope(sessions) as session:
            report = compare(session, index, build)
        engine.dispose()
    if not report.agrees:
        sys.exit(f"catalogue and index disagree: {report}")


def shared(
    options: argparse.Namespace,
    encoder: Encoder,
    stores: tuple[sessionmaker[Session], VectorIndex],
    where: tuple[str, str, str],
    count: int,
    first: int,
) -> Shared:
    """Let ``count`` workers embed the next pictures together."""
    sessions, index = stores
    blobs = BlobStore(Path(where[2]) / "blobs")
    pictures = next_pictures(options, first)
    workers = [started(where, options.devices[n % len(options.devices)]) for n in range(count)]
    for worker in workers:
        ready(worker)
    before = features(sessions)
    put_catalogue(make_ingest(sessions, index, encoder, blobs, options), pictures, [])
    began = time.perf_counter()
    for worker in workers:
        tell(worker)
    while features(sessions) - before < options.count and any(worker.poll() is None for worker in workers):
        time.sleep(0.02)
    embedded_s = time.perf_counter() - began
    images = [int(worker.communicate()[0]) for worker in workers]
    all_s = time.perf_counter() - began
    if sum(images) != options.count or features(sessions) - before != options.count:
        sys.exit(f"embedded {images}, {features(sessions) - before} features; expected {options.count} of both")
    return Shared(images, embedded_s, all_s)


def next_pictures(options: argparse.Namespace, first: int) -> list[bytes]:
    """Pictures that no row before had."""
    if options.images:
        return read_pictures(options.images, first + options.count)[first:]
    return [drawn(1000 + first + n, options.side) for n in range(options.count)]


def features(sessions: sessionmaker[Session]) -> int:
    """Pictures whose features are committed."""
    with session_scope(sessions) as session:
        return session.scalar(select(func.count()).select_from(Feature).where(Feature.kind == "image")) or 0


def started(where: tuple[str, str, str], device: str) -> subprocess.Popen[str]:
    """A worker as a process of its own."""
    told = json.dumps({"url": where[0], "uri": where[1], "folder": where[2], "device": device})
    command = [sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:], "--work"]
    environment = {**os.environ, "MORELIKE_BENCHMARK": told}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ready(worker: subprocess.Popen[str]) -> None:
    """Wait until it has its encoder loaded and warm."""
    assert worker.stdout is not None
    if worker.stdout.readline().strip() != "ready":
        sys.exit("a worker did not start")


def tell(worker: subprocess.Popen[str]) -> None:
    """Let it begin."""
    assert worker.stdin is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()


def work(options: argparse.Namespace) -> None:
    """Be a worker: load, say so, wait to be told, do what is due, say how many images that were."""
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    told = json.loads(os.environ["MORELIKE_BENCHMARK"])
    encoder = opened(options, told["device"])
    size = options.batch or fitting_batch(encoder)
    encoder.encode_images_with_tokens([decode(drawn(0, options.side))] * size, batch=size)
    sessions, blobs = session_factory(connect(told["url"])), BlobStore(Path(told["folder"]) / "blobs")
    ingest = make_ingest(sessions, VectorIndex(told["uri"]), encoder, blobs, options)
    print("ready", flush=True)
    sys.stdin.readline()
    print(ingest.run_due().images, flush=True)


if __name__ == "__main__":
    main()
