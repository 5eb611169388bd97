"""The page's server: time to the first tile and tiles per second, compared with one render of the same window."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from models.checkpoints.loading import load_upscaler
from models.continuous import Latent
from models.upscaler import Upscaler
from pictures.reading import read_rgb
from pictures.tensors import to_tensor
from tools.bench.figures import Figure
from utils import cli
from utils.geometry.grids import Grid

LEVELS = {2: 1, 8: 3, 32: 5}
HOME = "http://127.0.0.1"
ACROSS = 4  # tiles of the measured window's side


def add_commands(commands: Any, common: cli.Parser) -> None:
    help = "the page's server: tiles, compared with one render of the same window"
    page = commands.add_parser("web", parents=[common], help=help, description=help)
    page.add_argument("--picture", default="load/samples/coffee.png", help="sent and looked at, in its own size")
    page.add_argument("--memory", type=cli.positive, default=1, metavar="GIB", help="the server's budget")
    page.add_argument("--repeats", type=cli.count, default=5, help="rounds after a warm-up; gives the median")
    page.set_defaults(run=lambda arguments: {"figures": asyncio.run(web(arguments))})


async def web(arguments: Any) -> dict[str, Any]:
    """Figures by name; in each round the candidates run in turn."""
    from httpx import ASGITransport, AsyncClient

    from web.drawing import DEFAULT  # here, for nothing else of tools.bench needs the packages of the page
    from web.server import create_app
    from web.settings import Settings
    from web.studio import tile_side

    app = create_app(Settings(memory=int(arguments.memory * 2**30)))
    client = AsyncClient(transport=ASGITransport(app), base_url=HOME, timeout=600)
    figures: dict[str, Any] = {}
    async with app.router.lifespan_context(app), client:
        sent = await client.post("/api/pictures", content=Path(arguments.picture).read_bytes())
        picture = sent.json()["picture"]
        figures["encode once, s"], _ = await timed(client.post(f"/api/pictures/{picture}/encode"))
        upscaler, pixels = load_upscaler(DEFAULT), to_tensor(read_rgb(arguments.picture))
        latent = upscaler.encode(pixels)
        for scale, level in LEVELS.items():
            height, width = (n * scale for n in pixels.shape[1:])
            side = tile_side(level)
            columns, rows = (min(ACROSS, n // side) for n in (width, height))
            window = Grid.of_size((height, width)).window(0, 0, (rows * side, columns * side))
            urls = [
                f"/api/pictures/{picture}/tiles/{level}/{column}/{row}"
                for column, row in itertools.product(range(columns), range(rows))
            ]

            async def get(urls: list[str], *forgotten: tuple[str, ...]) -> tuple[float, float]:
                for part in forgotten:
                    app.state.studio.budget.drop((picture, *part))
                return await timed(asyncio.gather(*map(client.get, urls)))

            tile, field = ("tile",), (DEFAULT, "field")  # what the server keeps of a picture, and of a scale of it
            times = []
            for _ in range(1 + arguments.repeats):
                answers = [await get(urls[:1], tile, field), await get(urls[:1], tile), await get(urls, tile, field)]
                times.append([*answers, await timed(render(upscaler, latent, window))])
            first, later, served, rendered = zip(*times[1:], strict=True)  # after a warm-up
            figures[f"x{scale}: first tile of a scale, ms"] = Figure.of([1000 * seconds for seconds, _ in first])
            figures[f"x{scale}: a later tile, ms"] = Figure.of([1000 * seconds for seconds, _ in later])
            figures[f"x{scale}: tiles a second"] = len(urls) / statistics.median(seconds for seconds, _ in served)
            for which, what in enumerate(("time", "processor")):
                figures[f"x{scale}: tiles / one render, {what}"] = Figure.of(
                    [tiles[which] / render[which] for tiles, render in zip(served, rendered, strict=True)]
                )
    return figures


async def render(upscaler: Upscaler, latent: Latent, window: Grid) -> None:
    upscaler.render(latent, window)


async def timed(work: Awaitable[Any]) -> tuple[float, float]:
    """Seconds, and those of processors, that an answer or several take; an error of the server is one here."""
    started, processor = time.perf_counter(), time.process_time()
    answers = await work
    seconds = time.perf_counter() - started, time.process_time() - processor
    for answer in answers if isinstance(answers, list) else ():
        answer.raise_for_status()
    return seconds
