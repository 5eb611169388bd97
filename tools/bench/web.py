"""The page's server: time to the first tile and tiles per second, compared with one render of the same window."""

import asyncio
import itertools
import statistics
import time
from pathlib import Path
from typing import Any

from models.checkpoints.loading import load_upscaler
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
    page.set_defaults(run=lambda arguments: {"figures": web(arguments)})


def web(arguments: Any) -> dict[str, Any]:
    """Figures by name; in each round the candidates run in turn."""
    from httpx import ASGITransport, AsyncClient

    from web.server import create_app  # here, for nothing else of tools.bench needs the packages of the page
    from web.settings import Settings

    settings = Settings(memory=int(arguments.memory * 2**30))
    app = create_app(settings)

    async def measured() -> dict[str, Any]:
        client = AsyncClient(transport=ASGITransport(app), base_url=HOME, timeout=600)
        async with app.router.lifespan_context(app), client:
            return await _tiles(client, app.state.studio.budget, arguments)

    return asyncio.run(measured())


async def _tiles(client: Any, budget: Any, arguments: Any) -> dict[str, Any]:
    from web.drawing import DEFAULT
    from web.studio import tile_side

    prepared = f"{DEFAULT}/field"  # what the server keeps of a scale
    content = Path(arguments.picture).read_bytes()
    picture = (await client.post("/api/pictures", content=content)).json()["picture"]
    started = time.perf_counter()
    await client.post(f"/api/pictures/{picture}/encode")
    figures: dict[str, Any] = {"encode once, s": time.perf_counter() - started}
    upscaler = load_upscaler(DEFAULT)
    pixels = to_tensor(read_rgb(arguments.picture))
    latent = upscaler.encode(pixels)
    height, width = pixels.shape[1:]
    for scale, level in LEVELS.items():
        grid = Grid.of_size((height * scale, width * scale))
        side = tile_side(level)
        columns, rows = (min(ACROSS, n * scale // side) for n in (width, height))
        window = grid.window(0, 0, (rows * side, columns * side))
        places = list(itertools.product(range(columns), range(rows)))

        async def get(*wanted: tuple[int, int], level: int = level) -> tuple[float, float]:
            """Seconds, and those of processors, that these tiles take together."""
            paths = [f"/api/pictures/{picture}/tiles/{level}/{column}/{row}" for column, row in wanted]
            started, processor = time.perf_counter(), time.process_time()
            for answer in await asyncio.gather(*map(client.get, paths)):
                answer.raise_for_status()
            return time.perf_counter() - started, time.process_time() - processor

        def forget(*parts: str) -> None:
            for part in parts:
                budget.drop((picture, *part.split("/")))

        first, later, served, rendered = [], [], [], []
        for number in range(1 + arguments.repeats):
            forget("tile", prepared)
            times = [await get(places[0])]
            forget("tile")
            times.append(await get(places[0]))
            forget("tile", prepared)
            times.append(await get(*places))
            started, processor = time.perf_counter(), time.process_time()
            upscaler.render(latent, window)
            times.append((time.perf_counter() - started, time.process_time() - processor))
            if number:  # after a warm-up
                for kept, figure in zip((first, later, served, rendered), times, strict=True):
                    kept.append(figure)
        figures[f"x{scale}: first tile of a scale, ms"] = Figure.of([1000 * seconds for seconds, _ in first])
        figures[f"x{scale}: a later tile, ms"] = Figure.of([1000 * seconds for seconds, _ in later])
        figures[f"x{scale}: tiles a second"] = len(places) / statistics.median(seconds for seconds, _ in served)
        for which, what in enumerate(("time", "processor")):
            figures[f"x{scale}: tiles / one render, {what}"] = Figure.of(
                [tiles[which] / render[which] for tiles, render in zip(served, rendered, strict=True)]
            )
    return figures
